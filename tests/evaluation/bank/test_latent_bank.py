"""A bank of networks of latents, with captions and without: trained as by hand, attributed, and its encoders moved."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ConfigError
from whence.evaluation.bank import Bank, BankConfig, PoolRequest, build_bank, build_pool, measure_references
from whence.scores.stored import read_scores
from whence.seeds import derived_seed

CONFIG = (
    Config()
    .updated("model", channels=(8, 8))
    .updated("training", steps=4, batch_size=3, warmup=1, checkpoints=2, learning_rate=3e-2)
    .updated("sampler", method="ddim", steps=3, batch_size=4)
)
SETTINGS = BankConfig(models=1, held_out=3, drawn=2, draws=5)


def captioned(first: str, count: int, seed: int) -> Dataset:
    ids = tuple(f"{first}{n}" for n in range(count))
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    return Dataset(ids, pixels, tuple((name,) for name in ids), tuple(f"picture {n % 3}" for n in range(count)))


@pytest.fixture(scope="module", params=["text", pytest.param("plain", marks=pytest.mark.slow)])
def made(request, stable_diffusion, tmp_path_factory) -> Bank:
    """Twelve examples, a reference model, a pool of two subsets, and encoders that are gone; only to be read."""
    folder = tmp_path_factory.mktemp("bank")
    encoders = {"autoencoder": shutil.copytree(stable_diffusion, folder / "encoders")}
    encoders |= {"text_encoder": encoders["autoencoder"]} if request.param == "text" else {}
    options = {"config": CONFIG, "settings": SETTINGS, "engine": Engine(1), **encoders}
    bank = build_bank(captioned("t", 12, 0), captioned("h", 4, 1), folder / "bank", **options)
    shutil.rmtree(folder / "encoders")
    measure_references(bank)
    build_pool(bank, PoolRequest("test", 2, seeds=1), keep_models=True, engine=Engine(1))
    return Bank.open(folder / "bank")


def test_a_retrained_network_is_that_of_a_training_by_hand(made, stable_diffusion, tmp_path):
    rows = np.flatnonzero(made.pool("test").kept[1])
    config = CONFIG.updated("training", steps=2, warmup=1, checkpoints=0, seed=derived_seed(0, "retraining 0"))
    encoders = dict.fromkeys(set(made.parts) - {"encoding"}, stable_diffusion)
    train(made.data.select(rows), tmp_path / "again", config, **encoders)
    [kept] = (made.path / "runs" / "test" / "001-0.model" / "unet").glob("*.safetensors")
    assert kept.read_bytes() == (tmp_path / "again" / "unet" / kept.name).read_bytes()


def test_queries_are_drawn_from_captions_where_there_is_text(made):
    text = "text_encoder" in made.parts
    assert made.queries == ("h0", "h1", "h2", "0/0", "0/1")
    assert made.queries_data.captions[3:] == (("picture 0", "picture 1") if text else (None, None))
    assert np.isfinite(made.pool("test").losses).all()


def test_scores_of_its_model_are_taken(made, tmp_path):
    config = AttributionConfig(draws=8, compression={"width": 256})
    given = {"config": config, "engine": Engine(1)}
    attribute(made.models[0], made.data, made.attribution_queries(), "d-trak", out=tmp_path / "s", **given)
    [stored] = read_scores([tmp_path / "s" / "d-trak"])
    assert made.require(stored.scores, stored.manifest).examples == made.data.ids


def test_a_base_and_an_autoencoder_exclude_each_other(stable_diffusion, tmp_path):
    options = {"config": CONFIG, "settings": SETTINGS, "base": stable_diffusion, "autoencoder": stable_diffusion}
    with pytest.raises(ConfigError, match="Leave out the autoencoder"):
        build_bank(captioned("t", 12, 0), captioned("h", 4, 1), Path(tmp_path / "b"), **options)
