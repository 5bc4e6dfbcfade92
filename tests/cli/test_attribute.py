"""`whence methods`, `whence attribute`, `whence export` and the report of scores, as a user runs them."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from whence import artefacts
from whence.attribution.methods import METHODS
from whence.config import Config, ModelConfig, SamplerConfig, TrainingConfig
from whence.data import load
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train
from whence.scores.scores import Scores

COMMAND = (sys.executable, "-c", "from whence.cli.app import main; main()")
SMALL = ("--draws", 8, "--width", 200, "--workers", 1)
TRAINING = TrainingConfig(steps=20, batch_size=40, save_every=20, checkpoints=2, warmup=2, learning_rate=1e-3)
SAMPLER = SamplerConfig(method="ddim", steps=5)


def files(path) -> set:
    return {file for file in path.rglob("*") if not file.name.endswith(".lock")}


def refused(outcome) -> bool:
    """Whether a command ended with a message, and nothing before it but progress."""
    before, error, message = outcome.err.partition("Error: ")
    lines = [line.strip() for line in before.splitlines() if line.strip()]
    return (
        outcome.code == 1
        and bool(error)
        and "Traceback" not in message
        and all(line.startswith(("gradients:", "scores:")) for line in lines)
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Forty digits as a folder of pictures, two of them as queries, and a run on them."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("attribute")
    digits = load("digits").select(range(40))
    for folder, rows in (("images", range(40)), ("asked", (3, 8)), ("others", range(5))):
        (root / folder).mkdir()
        for n in rows:
            Image.fromarray(np.asarray(digits.pixels[n, 0])).save(root / folder / f"{n:02d}.png")
    for folder, size in (("empty", 0), ("large", 16)):
        (root / folder).mkdir()
        if size:
            Image.new("L", (size, size)).save(root / folder / "a.png")
    config = Config(model=ModelConfig(channels=(8,), groups=4, attention=0), training=TRAINING, sampler=SAMPLER)
    train(load(str(root / "images")), root / "run", config)
    return root


@pytest.fixture
def ask(whence, place):
    """Run `whence attribute RUN IMAGES --queries ASKED ...` with few draws."""

    def run(out, *words, model="run", data="images", queries="asked"):
        given = place / queries if (place / queries).exists() else queries
        return whence(
            "attribute",
            place / model,
            place / data,
            "--queries",
            given,
            "--out",
            out,
            *words,
            *(word for k, word in enumerate(SMALL) if SMALL[k - k % 2] not in words),
        )

    return run


@pytest.fixture(scope="module")
def whole(place, printed_by):
    """Three methods by the command."""
    words = ["attribute", place / "run", place / "images", "--queries", "sample:2", "--out", place / "whole", *SMALL]
    words += ["--method", "d-trak", "--method", "tracin", "--method", "pixel"]
    return place / "whole", printed_by(*words)


def test_methods_are_readable_in_80_columns(whence):
    printed = whence("methods").out
    assert all(len(line) <= 80 for line in printed.splitlines())
    blocks = printed.split("\n\n")
    for block, method in zip(blocks, METHODS.values(), strict=False):
        words = " ".join(block.split())
        assert words.startswith(f"{method.name}: {method.title}. {method.paper}.")
        assert method.needs in words
        assert method.cost in words
        assert len(block.splitlines()) <= 5
    assert "embedding-cosine:FOLDER" in blocks[-1]


@pytest.mark.parametrize("command", ["attribute", "methods", "export", "report"])
def test_help(whence, command):
    outcome = whence(command, "--help")
    assert outcome.code == 0
    assert f"whence {command} [OPTIONS]" in outcome.out


def test_from_a_run_to_scores(whole, place):
    out, printed = whole
    assert "d-trak: 2 queries, 40 training images" in printed
    assert printed.endswith(f"Next: whence report {out}\n")
    for name in ("d-trak", "tracin", "pixel"):
        scores = Scores.read(out / name)
        assert scores.queries == ("0/0", "0/1")
        [(example, value)] = scores.top("0/1", 1)
        error = "," if name == "pixel" else f" ± {scores.standard_error[1, scores.examples.index(example)].item():.2g},"
        assert f"  picture 0/1: {example} {value:.3g}{error}" in printed
        assert (scores.standard_error is None) == (name == "pixel")


def test_the_report_of_scores(whence, whole):
    out, _ = whole
    outcome = whence("report", out)
    assert outcome.code == 0, outcome.err
    html = (out / "report.html").read_text()
    for word in ("0/0", "0/1", "d-trak", "tracin", "pixel"):
        assert word in html
    beside = whence("report", out, "--beside", out)
    assert beside.code == 2
    assert "these are scores" in beside.err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export(whence, whole, tmp_path, ending):
    outcome = whence("export", whole[0] / "d-trak", "--to", tmp_path / f"table.{ending}", "--top", 3)
    assert outcome.code == 0, outcome.err
    if ending == "parquet":
        assert pq.read_table(tmp_path / "table.parquet").num_rows == 12
    else:
        assert len((tmp_path / "table.csv").read_text().splitlines()) == 13


def test_the_first_of_each_picture_alone(whence, ask, whole, tmp_path):
    """--top goes on from the features of whole scores, and prints their proponents."""
    out, shared = tmp_path / "out", ("--store", whole[0] / "features")
    words = ("--method", "d-trak", "--method", "pixel", "--top", "4", *shared)
    planned = ask(out, *words, "--plan", queries="sample:2").out
    assert "Nothing was started" in planned
    assert not (out / "d-trak-top-4").exists()
    printed = ask(out, *words, queries="sample:2")
    assert printed.code == 0, printed.err
    lines = printed.out.splitlines()
    pictures = [line for line in lines if line.startswith("  picture")]
    assert len(pictures) == 4
    assert set(pictures) <= set(whole[1].splitlines())
    assert any(line.startswith("    opponents: ") for line in lines)
    assert whence("report", out).code == 0
    assert f"whence export {out / 'd-trak-top-4'} --to top.csv" in printed.out
    assert whence("export", out / "d-trak-top-4", "--to", tmp_path / "top.csv").code == 0
    assert (tmp_path / "top.csv").read_text().count("\n") > 8
    refused = whence("credit", "compute", out, "--out", tmp_path / "credit")
    assert refused.code == 1
    assert "Run `whence attribute` without --top" in refused.err
    assert "--top is 0" in ask(tmp_path / "none", "--top", "0").err


def test_a_plan_starts_nothing(ask, whole, tmp_path, place):
    before = files(place)
    for out in (tmp_path / "new", whole[0]):
        words = ("--method", "d-trak", "--method", "trak", "--draws", 24, "--plan")
        outcome = ask(out, *words, queries="sample:2")
        assert outcome.code == 0, outcome.err
        assert "gradients of a picture at a draw, in 1 process" in outcome.out
        assert "Nothing was started" in outcome.out
    assert (
        "scores alone: the features are there" in ask(whole[0], "--method", "tracin", "--plan", queries="sample:2").out
    )
    assert files(place) == before
    assert not (tmp_path / "new").exists()


def test_a_plan_counts_what_is_missing(ask, whole, tmp_path):
    words = ("--method", "d-trak", "--draws", 24, "--plan")
    assert f"{24 * 42:,} gradients" in ask(tmp_path / "new", *words, queries="sample:2").out
    assert f"{16 * 42:,} gradients" in ask(whole[0], *words, queries="sample:2").out


def test_more_draws_another_damping_and_another_method_add_to_what_is_there(ask, tmp_path, contents):
    out = tmp_path / "scores"
    for words in (("--draws", 8), ("--draws", 16), ("--draws", 16, "--damping", 1), ("--draws", 16, "--method", "das")):
        assert ask(out, *words).code == 0
    names = {path.name for path in artefacts.whole(out, "*") if artefacts.kind_of(path) == "scores"}
    assert names == {"tangent-squared", "tangent-squared-damping-1", "das"}
    assert {Scores.read(out / name).draws for name in names} == {16}
    before = contents(out)
    assert ask(out, "--draws", 16).code == 0
    assert contents(out) == before


def test_half_precision_is_near(ask, whole, tmp_path):
    assert ask(tmp_path / "half", "--method", "d-trak", "--half", queries="sample:2").code == 0
    left, right = Scores.read(tmp_path / "half" / "d-trak").scores, Scores.read(whole[0] / "d-trak").scores
    assert 0 < (left - right).norm() / right.norm() < 0.05


@pytest.mark.slow
def test_killed_and_continued(place, tmp_path, wait_until, contents):
    """Killed when the first features are on disk; the rest comes out the same."""

    def command(out):
        words = ["attribute", place / "run", place / "images", "--queries", place / "asked", "--out", out]
        words += ["--draws", 8, "--width", 200, "--workers", 1, "--method", "d-trak", "--method", "retrac"]
        return [*COMMAND, *map(str, words)]

    process = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: list((tmp_path / "killed").glob("features/*/*/*/draws-*.part/*.safetensors")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "d-trak").exists()
    for name in ("killed", "whole"):
        subprocess.run(command(tmp_path / name), check=True, capture_output=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*.part"))


BAD = [
    ({"data": "others"}, (), "was trained on data with the fingerprint"),
    ({"queries": "empty"}, (), "has no images"),
    ({"queries": "large"}, (), "Pass --resolution 8"),
    ({"queries": "sample:none"}, (), "sample:COUNT"),
    ({"queries": "nowhere"}, (), "nowhere"),
    ({"model": "nowhere"}, (), "There is no such directory"),
    ({"model": "images"}, (), "is no folder of diffusers"),
    ({}, ("--draws", 7), "draws: must be greater than or equal to 8 (given: 7)"),
    ({}, ("--damping", 0), "damping: must be greater than 0"),
    ({}, ("--damping", -1), "damping: must be greater than 0"),
    ({}, ("--damping", "nan"), "damping: expected a finite number"),
    ({}, ("--damping", "inf"), "damping: expected a finite number"),
    ({}, ("--damping", 1e-300), "rounding errors take over below"),
    ({}, ("--width", 3), "layers need as many features at least; width is 3"),
    ({}, ("--seed", -1), "seed: must be greater than or equal to 0"),
    ({}, ("--method", "trakk"), "There is no method 'trakk'. `whence methods` lists them"),
    ({}, ("--method", "journey-trak"), "the model must have drawn the queries itself"),
]


@pytest.mark.parametrize(("changed", "words", "message"), BAD, ids=[f"{row[0]} {row[1]}" for row in BAD])
def test_bad_input_is_a_message_and_no_scores(ask, tmp_path, changed, words, message):
    outcome = ask(tmp_path / "scores", *words, **changed)
    assert refused(outcome), (outcome.code, outcome.err)
    assert message in outcome.err
    assert not list(tmp_path.glob("scores/*/scores.safetensors"))


def _other_model(place):
    model = DiffusionModel.load(place / "run")
    model.network.conv_in.bias.data += 1
    model.save(place / "other")


CLASHES = [
    ({"model": "other"}, (), "inputs.model"),
    ({"queries": "asked"}, (), "inputs.queries"),
    ({}, ("--seed", 1), "made.config.seed"),
    ({}, ("--width", 100), "made.config.compression.width"),
    ({}, ("--half",), "made.config.precision"),
]


@pytest.mark.parametrize(("changed", "words", "message"), CLASHES, ids=[row[2] for row in CLASHES])
def test_results_of_something_else_are_not_touched(ask, whole, place, contents, changed, words, message):
    if "model" in changed:
        _other_model(place)
    before = contents(whole[0])
    outcome = ask(whole[0], *words, **({"queries": "sample:2"} | changed))
    assert refused(outcome), outcome.err
    assert message in outcome.err
    assert f"{whole[0]} holds scores of something else" in outcome.err
    assert contents(whole[0]) == before


def test_settings_that_ended_in_an_error_do_not_bind(ask, tmp_path):
    """But features do that are there already: they would have to be made again."""
    assert refused(ask(tmp_path / "s", "--width", 3))
    assert refused(ask(tmp_path / "s", "--method", "das", "--seed", 1, "--damping", 1e-300))
    outcome = ask(tmp_path / "s", "--method", "das")
    assert refused(outcome)
    assert "draws.seed: there" in outcome.err
    assert ask(tmp_path / "s", "--method", "das", "--seed", 1).code == 0


def test_fewer_draws_than_there_are(ask, tmp_path, contents):
    assert ask(tmp_path / "s", "--draws", 16).code == 0
    before = contents(tmp_path / "s")
    outcome = ask(tmp_path / "s", "--draws", 8)
    assert refused(outcome)
    assert "holds 16 draws already" in outcome.err
    assert contents(tmp_path / "s") == before


def test_a_shared_store_of_another_seed(ask, tmp_path):
    assert ask(tmp_path / "one", "--store", tmp_path / "store").code == 0
    outcome = ask(tmp_path / "two", "--store", tmp_path / "store", "--seed", 1)
    assert refused(outcome)
    assert "seed" in outcome.err


def test_results_inside_a_model_are_refused(ask, place, contents):
    before = contents(place / "run")
    outcome = ask(place / "run")
    assert refused(outcome)
    assert "is a model. Give a folder of their own for scores" in outcome.err
    assert contents(place / "run") == before


def test_a_damaged_store(ask, tmp_path, flip_byte):
    assert ask(tmp_path / "s").code == 0
    before = Scores.read(tmp_path / "s" / "tangent-squared")
    shard = next((tmp_path / "s").glob("features/*/shared-examples/signs/draws-00008/00000.safetensors"))
    flip_byte(shard)
    for words in ((), ("--draws", 16)):
        outcome = ask(tmp_path / "s", *words)
        assert refused(outcome)
        assert "is damaged" in outcome.err
    assert torch.equal(Scores.read(tmp_path / "s" / "tangent-squared").scores, before.scores)
    shutil.rmtree(shard.parent)
    assert ask(tmp_path / "s").code == 0
    assert torch.equal(Scores.read(tmp_path / "s" / "tangent-squared").scores, before.scores)


@pytest.mark.parametrize("where", ["tensors", "files"])
def test_a_full_disk(ask, tmp_path, monkeypatch, where):
    """It fills up while features are written; with room again, the same command ends well."""
    count = 0

    def full(tensors, path):
        nonlocal count
        count += 1
        if count >= 3:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path)

    def no_room(path, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        if where == "tensors":
            patched.setattr("safetensors.torch.save_file", full)
        else:
            patched.setattr("whence.artefacts.files.write_bytes", no_room)
        outcome = ask(tmp_path / "s")
    assert refused(outcome), outcome.err
    assert "No space left on device" in outcome.err
    assert not list(tmp_path.rglob(".*.tmp"))
    assert not (tmp_path / "s" / "tangent-squared").exists()
    assert ask(tmp_path / "s").code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nan", "The weights conv_in.bias of the network in"),
        ("bin", "Weights in .bin files are pickled and not read"),
        ("unfinished", "It is unfinished: run the command that makes it again"),
        ("damaged", "is damaged: its SHA-256"),
    ],
)
def test_a_model_that_can_not_be_read(whence, place, tmp_path, change, message, flip_byte):
    path = tmp_path / "model"
    if change == "nan":
        model = DiffusionModel.load(place / "run")
        model.network.conv_in.bias.data[0] = torch.nan
        model.save(path)
    elif change == "bin":
        DiffusionModel.load(place / "run").save(path)
        (path / "unet" / "diffusion_pytorch_model.safetensors").rename(path / "unet" / "diffusion_pytorch_model.bin")
    else:
        shutil.copytree(place / "run", tmp_path / ("model.part" if change == "unfinished" else "model"))
        if change == "damaged":
            flip_byte(path / "unet" / "diffusion_pytorch_model.safetensors")
    outcome = whence("attribute", path, place / "images", "--queries", place / "asked", "--out", tmp_path / "s", *SMALL)
    assert refused(outcome), outcome.err
    assert message in outcome.err
    assert not (tmp_path / "s").exists()


def test_scores_that_are_not_there(whence, whole, tmp_path):
    for words in (("export", whole[0] / "trak", "--to", tmp_path / "a.csv"), ("report", tmp_path)):
        outcome = whence(*words)
        assert refused(outcome)
    outcome = whence("export", whole[0] / "d-trak", "--to", tmp_path / "a.xls")
    assert refused(outcome)
    assert not list(tmp_path.iterdir())
