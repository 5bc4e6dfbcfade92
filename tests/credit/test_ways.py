"""Ways to a model of a coalition."""

import pytest

from whence import artefacts
from whence.config import Config
from whence.credit.ways import Way
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.training import train
from whence.engine import silent
from whence.errors import ConfigError

RETRAINING = Way(kind="retraining")


def settings_of(way: Way, kept: int, **training) -> dict:
    config = Config().updated("training", steps=200, learning_rate=0.01, warmup=50, checkpoints=4, **training)
    return way.settings(config, kept, examples=100, seed=7).training.model_dump()


@pytest.mark.parametrize(
    ("way", "kept", "steps", "rate", "warmup"),
    [
        (Way(), 50, 10, 0.01, 1),
        (Way(), 1, 10, 0.01, 1),
        (Way(steps=5), 50, 5, 0.01, 0),
        (Way(steps=1000, learning_rate=1e-4), 50, 1000, 1e-4, 50),
        (RETRAINING, 100, 200, 0.01, 50),
        (RETRAINING, 50, 100, 0.01, 50),
        (RETRAINING, 10, 20, 0.01, 10),
        (RETRAINING, 1, 2, 0.01, 1),
    ],
)
def test_steps_rate_and_warmup(way, kept, steps, rate, warmup):
    found = settings_of(way, kept)
    assert (found["steps"], found["learning_rate"], found["warmup"]) == (steps, rate, warmup)
    assert (found["seed"], found["checkpoints"]) == (7, 0)


def test_retraining_everybody_has_the_settings_of_the_run_even_with_a_long_warmup():
    config = Config().updated("training", steps=10, warmup=9, checkpoints=0, seed=7)
    assert RETRAINING.settings(config, 100, 100, seed=7) == config


def test_a_rate_that_the_run_left_open_stays_open():
    assert Way().settings(Config(), 50, 100, seed=0).training.learning_rate is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"pruned": 1.0},
        {"pruned": -0.1},
        {"kind": "both"},
        {"kind": "retraining", "steps": 5},
        {"kind": "retraining", "learning_rate": 0.1},
        {"kind": "retraining", "pruned": 0.5},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError):
        Way(**wrong)


def test_retraining_everybody_is_the_run_itself(owned_data, run_config, credited, tmp_path):
    """Bit for bit, though it takes its kind of network from the credited model and not from the settings."""
    config = RETRAINING.settings(run_config, 24, 24, run_config.training.seed)
    made = RETRAINING.model(tmp_path / "made", owned_data, DiffusionModel.load(credited), config, silent)
    again = artefacts.read_tensors(tmp_path / "made" / NETWORK_FILE)
    for name, tensor in artefacts.read_tensors(credited / NETWORK_FILE).items():
        assert again[name].equal(tensor), name
    assert fingerprint(made) == fingerprint(DiffusionModel.load(credited))


def test_retraining_makes_the_network_of_the_model_whatever_the_settings_say(owned_data, run_config, tmp_path):
    """As of a diffusers folder that nobody knows the training of."""
    model = DiffusionModel.new(run_config.model.model_copy(update={"prediction": "epsilon"}), (1, 8, 8), seed=0)
    config = RETRAINING.settings(run_config.updated("model", channels=(16, 32)), 3, 24, seed=1)
    made = RETRAINING.model(tmp_path / "made", owned_data.select([0, 1, 2]), model, config, silent)
    assert made.process.prediction == "epsilon"
    assert repr(made.network) == repr(model.network)


def test_fine_tuning_is_training_that_goes_on(owned_data, run_config, credited, tmp_path):
    config = Way(steps=3).settings(run_config, 5, 24, seed=1)
    few, full = owned_data.select(range(5)), DiffusionModel.load(credited)
    made = Way(steps=3).model(tmp_path / "made", few, full, config, silent)
    train(few, tmp_path / "on", config, start=full)
    assert fingerprint(made) == fingerprint(DiffusionModel.load(tmp_path / "on")) != fingerprint(full)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_untrained_network_is_where_training_begins(run_config, credited, seed):
    found = DiffusionModel.load(credited).untrained(seed)
    assert fingerprint(found) == fingerprint(DiffusionModel.new(run_config.model, (1, 8, 8), seed))
    assert not found.network.training


def test_words():
    assert "estimate" in Way().words
    assert "50% of its channels" in Way(pruned=0.5).words
    assert "new model" in RETRAINING.words
