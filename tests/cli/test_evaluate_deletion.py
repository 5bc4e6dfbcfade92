"""`whence evaluate deletion` on the tiny bank."""

import pytest

from whence.attribution.attribute import attribute
from whence.diffusion.model import DiffusionModel

ASKED = ("--top", "3", "--count", "2", "--seeds", "1", "--workers", "1")


@pytest.fixture(scope="module")
def scores(tiny_bank, tmp_path_factory):
    """Two likenesses of the bank's queries."""
    out = tmp_path_factory.mktemp("scores")
    attribute(tiny_bank.models[0], tiny_bank.data, tiny_bank.attribution_queries(), ("pixel", "pixel-cosine"), out=out)
    return out


def test_deletion_is_planned_carried_out_and_read_again(whence, tiny_bank, scores, tmp_path):
    asked = ("evaluate", "deletion", scores, "--bank", tiny_bank.path, *ASKED, "--store", tmp_path)
    planned = whence(*asked, "--plan")
    assert planned.code == 0, planned.err
    assert "models:" in planned.out
    assert "Nothing was started" in planned.out
    assert not list(tmp_path.iterdir())

    found = whence(*asked, "--random")
    assert found.code == 0, found.err
    assert "pixel: 3 of 24 images removed for each of 2 queries (1 held out, 1 drawn), 1 training seed\n" in found.out
    for line in ("loss, above random", "loss, worse than random", "picture, above random", "other queries' loss"):
        assert line in found.out
    assert "loss, pixel minus ..." in found.out
    assert "random for pixel " in found.out
    assert "random for pixel-cosine" not in found.out
    assert "Note:" not in found.out

    read = whence(*asked, "--no-retrain")
    assert read.out == found.out
    assert "nothing: all of it is there already" in whence(*asked, "--random", "--plan").out


def test_what_was_not_measured_is_not_made_up(whence, tiny_bank, scores, tmp_path):
    asked = ("evaluate", "deletion", scores / "pixel", "--bank", tiny_bank.path, "--store", tmp_path)
    found = whence(*asked, "--top", "2", "--no-retrain")
    assert found.code == 1
    assert "No removal of the top 2 examples by pixel was measured" in found.err
    assert "1 to 3 queries" in whence(*asked, "--count", "20").err
    assert "leaves nothing" in whence(*asked, "--top", "100%", "--count", "2").err


def test_scores_of_another_model_are_refused(whence, tiny_bank, tmp_path):
    model = DiffusionModel.new(tiny_bank.config.model, tiny_bank.data.size, seed=99)
    attribute(model, tiny_bank.data, tiny_bank.attribution_queries(), "pixel", out=tmp_path)
    found = whence("evaluate", "deletion", tmp_path, "--bank", tiny_bank.path, *ASKED)
    assert found.code == 1
    assert "other model than the bank" in found.err
