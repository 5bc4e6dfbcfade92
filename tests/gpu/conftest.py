import os
from pathlib import Path

import pytest
import torch

import whence
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import Dataset


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The device that is compared with the CPU; WHENCE_TEST_DEVICE names another one, to try the tests themselves."""
    name = os.environ.get("WHENCE_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    return torch.device(name)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Forty digits."""
    return whence.load("digits").select(range(40))


@pytest.fixture(scope="session")
def config() -> Config:
    """A network with attention and normalisation, trained for a few steps."""
    return Config(
        model=ModelConfig(channels=(16, 32)),
        training=TrainingConfig(steps=60, batch_size=16, warmup=5, save_every=60, checkpoints=2, flip=True),
    )


@pytest.fixture(scope="session")
def run(digits, config, tmp_path_factory) -> Path:
    """A run that the CPU trained."""
    path = tmp_path_factory.mktemp("gpu") / "run"
    whence.train(digits, path, config, engine=whence.Engine(1, accelerator="cpu"))
    return path
