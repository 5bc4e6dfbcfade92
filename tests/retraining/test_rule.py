"""How a model without some examples is made."""

import numpy as np
import pytest

from whence import artefacts
from whence.config import Config
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.training import train
from whence.errors import ConfigError
from whence.retraining.rule import RetrainingRule

RETRAINING = RetrainingRule(kind="retraining")


def settings_of(rule: RetrainingRule, kept: int, **training) -> dict:
    config = Config().updated("training", steps=200, learning_rate=0.01, warmup=50, checkpoints=4, **training)
    return rule.settings(config, kept, examples=100, seed=7).training.model_dump()


@pytest.mark.parametrize(
    ("rule", "kept", "steps", "rate", "warmup"),
    [
        (RetrainingRule(), 50, 10, 0.01, 1),
        (RetrainingRule(), 1, 10, 0.01, 1),
        (RetrainingRule(steps=5), 50, 5, 0.01, 0),
        (RetrainingRule(steps=1000, learning_rate=1e-4), 50, 1000, 1e-4, 50),
        (RETRAINING, 100, 200, 0.01, 50),
        (RETRAINING, 50, 100, 0.01, 50),
        (RETRAINING, 10, 20, 0.01, 10),
        (RETRAINING, 1, 2, 0.01, 1),
    ],
)
def test_steps_rate_and_warmup(rule, kept, steps, rate, warmup):
    found = settings_of(rule, kept)
    assert (found["steps"], found["learning_rate"], found["warmup"]) == (steps, rate, warmup)
    assert (found["seed"], found["checkpoints"]) == (7, 0)


def test_retraining_everybody_has_the_settings_of_the_run_even_with_a_long_warmup():
    config = Config().updated("training", steps=10, warmup=9, checkpoints=0, seed=7)
    assert RETRAINING.settings(config, 100, 100, seed=7) == config


def test_a_rate_that_the_run_left_open_stays_open():
    assert RetrainingRule().settings(Config(), 50, 100, seed=0).training.learning_rate is None


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
        {"kind": "weight 0", "steps": 5},
        {"kind": "retraining", "pruned": 0.5},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError):
        RetrainingRule(**wrong)


def test_retraining_everybody_is_the_run_itself(owned_data, run_config, credited, tmp_path):
    """Bit for bit, though it takes its kind of network from the credited model and not from the settings."""
    config = RETRAINING.settings(run_config, 24, 24, run_config.training.seed)
    made = RETRAINING.train(owned_data, np.arange(24), tmp_path / "made", config, start=DiffusionModel.load(credited))
    again = artefacts.read_tensors(tmp_path / "made" / NETWORK_FILE)
    for name, tensor in artefacts.read_tensors(credited / NETWORK_FILE).items():
        assert again[name].equal(tensor), name
    assert fingerprint(made) == fingerprint(DiffusionModel.load(credited))


def test_retraining_makes_the_network_of_the_model_whatever_the_settings_say(owned_data, run_config, tmp_path):
    """As of a diffusers folder that nobody knows the training of."""
    model = DiffusionModel.new(run_config.model.model_copy(update={"prediction": "epsilon"}), (1, 8, 8), seed=0)
    config = RETRAINING.settings(run_config.updated("model", channels=(16, 32)), 3, 24, seed=1)
    made = RETRAINING.train(owned_data, np.arange(3), tmp_path / "made", config, start=model)
    assert made.process.prediction == "epsilon"
    assert repr(made.network) == repr(model.network)


def test_fine_tuning_is_training_that_goes_on(owned_data, run_config, credited, tmp_path):
    config = RetrainingRule(steps=3).settings(run_config, 5, 24, seed=1)
    few, full = owned_data.select(range(5)), DiffusionModel.load(credited)
    made = RetrainingRule(steps=3).train(owned_data, np.arange(5), tmp_path / "made", config, start=full)
    train(few, tmp_path / "on", config, start=full)
    assert fingerprint(made) == fingerprint(DiffusionModel.load(tmp_path / "on")) != fingerprint(full)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_untrained_network_is_where_training_begins(run_config, credited, seed):
    found = DiffusionModel.load(credited).untrained(seed)
    assert fingerprint(found) == fingerprint(DiffusionModel.new(run_config.model, (1, 8, 8), seed))
    assert not found.network.training


def test_descriptions():
    assert "estimate" in RetrainingRule().description
    assert "new model" in RETRAINING.description
    assert "weight 0" in RetrainingRule(kind="weight 0").description


def test_manifests_keep_the_entry_of_pruning_and_studies_with_it_are_refused():
    record = RetrainingRule(steps=5).record()
    assert record == {"kind": "fine-tuning", "steps": 5, "learning_rate": None, "pruned": 0.0}
    assert RetrainingRule(**record) == RetrainingRule(steps=5)
    with pytest.raises(ConfigError, match=r"no longer cuts channels.*pruned = 0.5: begin a new study"):
        RetrainingRule(**record | {"pruned": 0.5})
