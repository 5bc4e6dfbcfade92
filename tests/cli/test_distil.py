"""`whence distil` and `whence attribute --ranker`, as a user runs them."""

import pytest

from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.diffusion.training import train
from whence.scores.scores import Scores

DATA = "digits:test"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("distil") / "run"
    training = TrainingConfig(steps=2, batch_size=10, save_every=2, checkpoints=1, warmup=1)
    train(load(DATA), path, Config(model=ModelConfig(channels=(8,), attention=0), training=training))
    return path


def test_a_ranker_of_a_teacher_ranks_other_pictures(whence, run):
    place, few = run.parent, ("--sampler-steps", 2, "--workers", 1)
    queries = ("--queries", "sample:25", "--method", "pixel-kernel", *few)
    assert whence("attribute", run, DATA, *queries, "--out", place / "scores").code == 0
    outcome = whence("distil", place / "scores", DATA, "--out", place / "ranker", "--dimensions", 8)
    assert outcome.code == 0, outcome.err
    assert "A ranker of pixel-kernel, from 25 queries" in outcome.out
    assert "rank correlation over the training images" in outcome.out
    assert "Milliseconds for a query" in outcome.out
    words = ("--queries", "sample:2@1", "--ranker", place / "ranker", *few, "--out", place / "ranked")
    ranked = whence("attribute", run, DATA, *words)
    assert ranked.code == 0, ranked.err
    [folder] = [path for path in (place / "ranked").iterdir() if path.name.startswith("ranker-")]
    scores = Scores.read(folder)
    assert (scores.method, len(scores.queries)) == ("ranker of pixel-kernel", 2)
    other = whence("attribute", run, "digits", *words[:-1], place / "other")
    assert other.code == 1


def test_what_is_refused(whence, run, tmp_path):
    missing = whence("distil", tmp_path / "none", DATA, "--out", tmp_path / "ranker")
    assert missing.code == 1
    assert "does not exist" in missing.err
    few = ("--queries", "sample:3", "--method", "pixel", "--sampler-steps", 2, "--workers", 1)
    assert whence("attribute", run, DATA, *few, "--out", tmp_path / "scores").code == 0
    outcome = whence("distil", tmp_path / "scores", DATA, "--out", tmp_path / "ranker")
    assert outcome.code == 1
    assert "from 20 queries" in outcome.err
    assert not (tmp_path / "ranker").exists()


@pytest.mark.parametrize("command", ["distil", "reweight"])
def test_help(whence, command):
    outcome = whence(command, "--help")
    assert outcome.code == 0
    assert f"whence {command}" in outcome.out
