"""Small models for audits: a run on digits, and an untrained ensemble with a run of each member."""

import pytest

from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.diffusion.training import train
from whence.engine import Engine
from whence.ensemble.training import train_ensemble

MODEL = ModelConfig(channels=(8,), attention=0)


@pytest.fixture(scope="session")
def digits():
    return load("digits").select(range(24))


@pytest.fixture(scope="session")
def run(tmp_path_factory, digits):
    """A recorded run of few steps."""
    path = tmp_path_factory.mktemp("audit") / "run"
    training = TrainingConfig(steps=8, batch_size=9, save_every=8, checkpoints=1, warmup=1)
    train(digits, path, Config(model=MODEL, training=training))
    return path


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory):
    """Four members on three units of eight digits."""
    data = load("digits", unit_column="label")
    data = data.select([n for n, units in enumerate(data.units) if units[0] in ("digit 0", "digit 1", "digit 7")][:24])
    training = TrainingConfig(steps=4, batch_size=8, save_every=4, checkpoints=1, warmup=1)
    path = tmp_path_factory.mktemp("audit") / "ensemble"
    return train_ensemble(data, path, members=4, config=Config(model=MODEL, training=training), engine=Engine(1))
