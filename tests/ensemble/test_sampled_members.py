"""Ensembles of adapters that saw samples of latents and mirror images."""

from pathlib import Path

import numpy as np
import pytest

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.latents import Latents
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import Engine
from whence.ensemble import Ensemble, train_ensemble
from whence.ensemble.model import member_path
from whence.ensemble.training import member_config

CONFIG = (
    Config()
    .updated("training", steps=4, batch_size=3, warmup=0, checkpoints=1, save_every=2, latents="sample", flip=True)
    .updated("adapter", rank=2, target="attn2")
)
WEIGHTS = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def made(stable_diffusion, tmp_path_factory) -> Ensemble:
    ids = tuple("hgfedcba")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    data = Dataset(ids, pixels, tuple((f"artist {n % 4}",) for n in range(8)), ("a picture",) * 8)
    path: Path = tmp_path_factory.mktemp("sampled") / "ens"
    return train_ensemble(data, path, members=4, config=CONFIG, base=stable_diffusion, engine=Engine(1))


@pytest.mark.slow
def test_a_member_is_the_adapter_that_train_makes_of_its_images(made, stable_diffusion, tmp_path):
    rows, folder = made.codebook.examples(1, made.data), member_path(made.path, 1)
    train(made.data.select(rows), tmp_path / "alone", member_config(made.config, 1), base=stable_diffusion)
    assert (tmp_path / "alone" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert Record(folder)["flipped"].any()


@pytest.mark.slow
def test_its_gradients_are_at_samples(made, tmp_path):
    assert isinstance(made.examples.values, Latents)
    config = AttributionConfig(draws=8, compression={"width": 64})
    found = attribute(made, made.data, "sample:1", "gradient-dot", config=config, engine=Engine(1))
    assert found["gradient-dot"].estimand.process.endswith("with a sample of the latents at each draw")
