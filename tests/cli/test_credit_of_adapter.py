"""Credit for the run of one adapter: sums of its scores on pictures that are drawn from prompts."""

import shutil

import numpy as np
import pytest

from whence import artefacts
from whence.credit.contributors import load_contributed
from whence.credit.credit import Credit
from whence.data import Dataset
from whence.diffusion.training import train
from whence.images import write_png
from whence.scores.scores import Scores

DRAWN = ("--queries", "sample:2", "--sampler-steps", 3, "--prompt", "picture one", "--prompt", "a red tree")


@pytest.fixture(scope="module")
def artists(tmp_path_factory):
    """A folder of eight pictures of three artists, with captions."""
    folder = tmp_path_factory.mktemp("data") / "art"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    rows = ["file_name,artist,text"]
    for n, picture in enumerate(pixels):
        write_png(folder / f"{n}.png", picture)
        rows.append(f"{n}.png,artist {n % 3},picture {n}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def lora(artists, stable_diffusion, tiny_adapters, tmp_path_factory):
    data: Dataset = load_contributed(str(artists), ("artist",))
    path = tmp_path_factory.mktemp("run") / "lora"
    train(data, path, tiny_adapters.config, base=stable_diffusion)
    return path


@pytest.mark.slow
def test_shares_are_sums_of_the_scores_of_the_default_method(whence, lora, artists, stable_diffusion, tmp_path):
    """And the plan is of a base that has moved, and is named."""
    out, moved = tmp_path / "credit", shutil.copytree(stable_diffusion, tmp_path / "elsewhere")
    given = ("credit", "compute", lora, artists, "--unit-column", "artist", *DRAWN, "--draws", 8, "--out", out)
    planned = whence(*given, "--base", moved, "--plan")
    assert planned.code == 0, planned.err
    assert not artefacts.of_kind(out, "credit")
    first = whence(*given)
    assert first.code == 0, first.err
    assert "sum-tangent: 3 contributors" in first.out
    credit, scores = Credit.read(out / "sum-tangent"), Scores.read(out / "scores" / "tangent")
    assert scores.draws == 8
    assert credit.units == ("artist 0", "artist 1", "artist 2")
    for u, name in enumerate(credit.units):
        own = [n for n, units in enumerate(scores.units) if units == (name,)]
        assert credit.shares[:, u] == pytest.approx(scores.scores[:, own].double().sum(1).numpy(), rel=1e-5)
    assert credit.low is not None
    again = whence(*given)
    assert again.code == 0, again.err
    assert whence("report", out).code == 0
    page = (out / "report.html").read_text()
    assert "picture one" in page
    assert "a red tree" in page
    assert whence("credit", "statement", out, "--unit", "artist 1").code == 0
    assert "a red tree" in (out / "statements" / "artist 1.html").read_text()


@pytest.mark.slow
def test_what_does_not_hold_for_an_adapter_is_refused(whence, lora, artists, tmp_path):
    refused = whence(
        "credit",
        "compute",
        lora,
        artists,
        "--unit-column",
        "artist",
        "--behaviour",
        "diversity",
        "--out",
        tmp_path / "x",
    )
    assert refused.code
    assert "--behaviour is not used where shares are computed from an adapter" in refused.err
    assert "Models of coalitions are of whole networks on pixels" in refused.err
