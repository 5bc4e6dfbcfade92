from pathlib import Path

import numpy as np
import pytest

from whence.attribution.queries import read_queries
from whence.config import Config, ModelConfig, SamplerConfig, TrainingConfig
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train


@pytest.fixture(scope="session")
def few_digits() -> Dataset:
    """Ten digits."""
    return load("digits").select(range(10))


@pytest.fixture(scope="session")
def data() -> Dataset:
    """Eight random pictures in colour with captions, whose ids are not in the order of the alphabet."""
    ids = tuple("hgfedcba")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    return Dataset(ids, pixels, tuple((name,) for name in ids), tuple(f"picture {n % 3}" for n in range(8)))


@pytest.fixture(scope="session")
def recorded_run(few_digits, tmp_path_factory) -> Path:
    """A run of `train` with flips, whose three checkpoints don't fall on ends of epochs; only to be read."""
    model = ModelConfig(channels=(8,), groups=4, attention=0)
    training = TrainingConfig(
        steps=14, batch_size=4, learning_rate=2e-3, save_every=14, checkpoints=3, warmup=2, ema=0.8, flip=True, seed=3
    )
    path = tmp_path_factory.mktemp("recorded") / "run"
    train(few_digits, path, Config(model=model, training=training))
    return path


@pytest.fixture(scope="session")
def drawn(recorded_run) -> Examples:
    """Two pictures that the run drew in three steps."""
    sampler = SamplerConfig(method="ddim", steps=3)
    return read_queries(DiffusionModel.load(recorded_run), "sample:2", sampler=sampler)
