"""The metagradient of recorded runs: the command, interruption, and what is refused."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import whence
from whence import artefacts
from whence.config import AdapterConfig, Config, ModelConfig, TrainingConfig
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, ConfigError, MismatchError, ModelError, WhenceWarning

DRAWS = whence.AttributionConfig(draws=8)
TRAINING = {
    "steps": 14,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "warmup": 2,
    "ema": 0.8,
    "flip": True,
    "clip_norm": 0.0,
}
MODEL = ModelConfig(channels=(8,), groups=4, attention=0)


def queries_of(data):
    return Examples(("q", "r"), data.images([0, 1]))


def derivative_files(out: Path):
    return [file.read_bytes() for file in sorted(out.glob("features/derivative-*/derivative.safetensors"))]


@pytest.fixture(scope="session")
def digits():
    return whence.load("digits").select(np.arange(10))


@pytest.fixture(scope="session")
def run(digits, tmp_path_factory):
    """A run whose gradients are not clipped; only to be read."""
    path = tmp_path_factory.mktemp("runs") / "run"
    whence.train(digits, path, Config(model=MODEL, training=TrainingConfig(**TRAINING)))
    return path


@pytest.fixture(scope="session")
def attributed(run, digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores") / "scores"
    whence.attribute(run, digits, queries_of(digits), "metagradient", config=DRAWS, out=out)
    return out


@pytest.mark.slow
def test_more_weight_on_an_example_changes_the_loss_as_the_score_says(run, digits, attributed, tmp_path):
    scores = whence.load_scores(attributed)
    assert scores.sign == "positive is proponent"
    assert "0%" in scores.estimand.process
    name, step, changes = digits.ids[3], 0.02, []
    for sign, folder in ((1, "more"), (-1, "less")):
        weights, config = {name: 1 + sign * step}, Config(model=MODEL, training=TrainingConfig(**TRAINING))
        whence.train(digits, tmp_path / folder, config, weights=weights)
        other = whence.attribute(
            tmp_path / folder, digits, queries_of(digits), "metagradient", config=DRAWS, out=tmp_path / f"{folder}-s"
        )
        (file,) = (tmp_path / f"{folder}-s").glob("features/derivative-*/derivative.safetensors")
        changes.append(sign * artefacts.read_tensors(file)["losses"])
        assert other["metagradient"].scores.shape == (2, 10)
    measured = -sum(changes) / (2 * step)
    torch.testing.assert_close(scores.scores[:, 3].double(), measured, rtol=0.02, atol=1e-6)


def begin(run, digits, out, at):
    """Begin the derivative, and end without warning when so much of the work is done."""

    def report(done, _total):
        if done >= at:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = whence.Engine(1, report)
    whence.attribute(run, digits, queries_of(digits), "metagradient", config=DRAWS, out=out, engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, 60])
def test_a_killed_command_continues_to_the_same_bytes(run, digits, attributed, tmp_path, at):
    process = multiprocessing.get_context("fork").Process(target=begin, args=(run, digits, tmp_path / "s", at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not derivative_files(tmp_path / "s")
    whence.attribute(run, digits, queries_of(digits), "metagradient", config=DRAWS, out=tmp_path / "s")
    assert derivative_files(tmp_path / "s") == derivative_files(attributed)


def test_clipped_steps_are_counted_and_told(digits, tmp_path):
    config = Config(model=MODEL, training=TrainingConfig(**TRAINING | {"clip_norm": 1e-3}))
    whence.train(digits, tmp_path / "run", config)
    with pytest.warns(WhenceWarning, match="clipped in 100% of the steps"):
        scores = whence.attribute(tmp_path / "run", digits, queries_of(digits), "metagradient", config=DRAWS)
    assert "clipped in 100%" in scores["metagradient"].estimand.process


@pytest.mark.slow
def test_a_run_of_an_adapter_is_replayed(tmp_path):
    data = whence.load("styles").select(np.arange(4))
    training = TrainingConfig(steps=4, batch_size=2, warmup=1, caption_dropout=0.5, clip_norm=0)
    whence.train(data, tmp_path / "run", Config(training=training, adapter=AdapterConfig(rank=2)), base="styles")
    scores = whence.attribute(
        tmp_path / "run", data, data.select([0]), "metagradient", config=whence.AttributionConfig(draws=8)
    )
    assert torch.isfinite(scores["metagradient"].scores).all()


@pytest.mark.parametrize(
    ("settings", "model", "message"),
    [
        ({"precision": "bfloat16"}, {}, "trained in bfloat16"),
        ({}, {"dropout": 0.1}, "has dropout"),
    ],
)
def test_a_run_that_has_no_derivative_is_refused(digits, tmp_path, settings, model, message):
    config = Config(model=MODEL.model_copy(update=model), training=TrainingConfig(**TRAINING | {"steps": 2} | settings))
    whence.train(digits, tmp_path / "run", config)
    with pytest.raises(ModelError, match=message):
        whence.attribute(tmp_path / "run", digits, queries_of(digits), "metagradient", config=DRAWS)


def test_a_model_without_a_record_is_refused(run, digits, tmp_path):
    model = DiffusionModel.load(run)
    with pytest.raises(ConfigError, match="one recorded run"):
        whence.attribute(model, digits, queries_of(digits), "metagradient", config=DRAWS)
    model.save(tmp_path / "folder")
    with pytest.raises(ArtefactError, match="no record of its training"):
        whence.attribute(tmp_path / "folder", digits, queries_of(digits), "metagradient", config=DRAWS)


def test_a_run_from_other_weights_is_refused(run, digits, tmp_path):
    config = Config(training=TrainingConfig(**TRAINING | {"steps": 2}))
    whence.train(digits, tmp_path / "run", config, start=DiffusionModel.load(run))
    with pytest.raises(ArtefactError, match="`start` that the directory doesn't have"):
        whence.attribute(tmp_path / "run", digits, queries_of(digits), "metagradient", config=DRAWS)


def test_a_replay_that_ends_elsewhere_is_refused(run, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("whence.metagradient.optimiser.Optimiser._decay", lambda *_: 0.5)
    with pytest.raises(MismatchError, match="away from the averaged weights that it saved"):
        whence.attribute(run, digits, queries_of(digits), "metagradient", config=DRAWS)
