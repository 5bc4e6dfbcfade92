"""A bank of adapters: what is measured, against slow loops; attributed and evaluated like a bank of networks."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.adapter_run import load_run
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import draw_pictures
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.evaluation.bank import Bank, BankConfig, PoolRequest, build_bank, build_pool, measure_references
from whence.evaluation.bank.bank_request import BankRequest
from whence.evaluation.deletion import Removal, measure_removals
from whence.scores.stored import read_scores
from whence.seeds import derived_seed

CONFIG = (
    Config()
    .updated("training", steps=4, batch_size=3, warmup=1, checkpoints=2, save_every=2, learning_rate=3e-2)
    .updated("adapter", rank=2, target="attn2")
    .updated("sampler", method="ddim", steps=3, batch_size=4, clip=False)
)
SETTINGS = BankConfig(models=2, held_out=3, drawn=2, draws=5)
PROMPTS = Prompts(("picture 1", "picture 2"), "", 2.0)


def captioned(first: str, count: int, seed: int) -> Dataset:
    ids = tuple(f"{first}{n}" for n in range(count))
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    return Dataset(ids, pixels, tuple((name,) for name in ids), tuple(f"picture {n % 3}" for n in range(count)))


@pytest.fixture(scope="module")
def made(stable_diffusion, tmp_path_factory) -> Bank:
    """Twelve examples, two reference models, a pool of two subsets and two seeds; only to be read."""
    path, data = tmp_path_factory.mktemp("bank") / "bank", captioned("t", 12, 0)
    options = {"config": CONFIG, "settings": SETTINGS, "base": stable_diffusion, "prompts": PROMPTS}
    bank = build_bank(data, captioned("h", 4, 1), path, engine=Engine(1), **options)
    measure_references(bank)
    build_pool(bank, PoolRequest("test", 2, seeds=2), keep_models=True, engine=Engine(1))
    return Bank.open(path)


def test_queries_have_captions(made):
    assert made.queries_data.captions == ("picture 0", "picture 1", "picture 2", "picture 1", "picture 2")
    assert made.queries == ("h0", "h1", "h2", "0/0", "0/1")
    model = load_run(made.models[0], made.base)
    conditions, guidance = Encoders.of(model).prompted(PROMPTS, ["0/0", "0/1"])
    latents = draw_pictures(model, made.config.sampler, ["0/0", "0/1"], conditions=conditions, guidance=guidance)
    assert np.array_equal(made.queries_data.pixels[3:], model.codec.decode(latents))


def test_losses_of_a_retrained_adapter_by_hand(made, tmp_path):
    """A subset's adapter is trained anew on its images, and its losses are of latents and captions."""
    pool = made.pool("test")
    rows = np.flatnonzero(pool.kept[1])
    config = CONFIG.updated("training", steps=2, warmup=1, checkpoints=0, seed=derived_seed(0, "retraining 1"))
    train(made.data.select(rows), tmp_path / "again", config, base=made.base)
    kept = made.path / "runs" / "test" / "001-1.model" / "pytorch_lora_weights.safetensors"
    assert kept.read_bytes() == (tmp_path / "again" / kept.name).read_bytes()
    model = load_run(tmp_path / "again", made.base)
    source, queries = model.process.draws(derived_seed(0, "measurement")), Encoders.of(model).encode(made.queries_data)
    for q, name in enumerate(made.queries):
        losses = []
        for k in range(5):
            t, noise = source([name], [k], model.size)
            with torch.no_grad():
                losses.append(model.loss(queries.x([q]), t, noise, **queries.conditions_of([q])).item())
        assert pool.losses[1, 1, q] == pytest.approx(np.mean(losses), rel=1e-5)
    assert not np.allclose(pool.losses[0], pool.losses[1], rtol=1e-6)


@pytest.mark.slow  # `test_latent_bank.py` has a network with captions
def test_scores_of_its_model_are_taken_and_others_refused(made, tmp_path):
    config = AttributionConfig(draws=8, compression={"width": 64})
    given = {"config": config, "engine": Engine(1)}
    attribute(made.models[0], made.data, made.attribution_queries(), "d-trak", out=tmp_path / "s", **given)
    [stored] = read_scores([tmp_path / "s" / "d-trak"])
    aligned = made.require(stored.scores, stored.manifest)
    assert aligned.queries == made.queries
    assert aligned.examples == made.data.ids
    renamed = made.queries_data.with_fields(captions=("another",) * 5)
    others = made.encoders.encode_queries(renamed)
    attribute(made.models[0], made.data, others, "d-trak", out=tmp_path / "o", **given)
    [stored] = read_scores([tmp_path / "o" / "d-trak"])
    with pytest.raises(MismatchError, match="other queries than the bank"):
        made.require(stored.scores, stored.manifest)


@pytest.mark.slow
def test_scores_at_samples_of_latents_are_taken_too(made, tmp_path):
    config = AttributionConfig(draws=8, compression={"width": 64}, latents="sample")
    queries = made.attribution_queries()
    attribute(made.models[0], made.data, queries, "d-trak", config=config, out=tmp_path / "s", engine=Engine(1))
    [stored] = read_scores([tmp_path / "s" / "d-trak"])
    assert made.require(stored.scores, stored.manifest).examples == made.data.ids


@pytest.mark.slow  # `test_deletion.py` has networks
def test_deletion_retrains_adapters(made, stable_diffusion, tmp_path):
    bank = Bank.open(shutil.copytree(made.path, tmp_path / "bank"))
    config = AttributionConfig(draws=8, compression={"width": 64})
    scores = attribute(bank.models[0], bank.data, bank.attribution_queries(), "trak", config=config, engine=Engine(1))
    removal = Removal.of(bank, scores["trak"], top=3, count=2, seeds=1)
    [deletion] = measure_removals(bank, [removal], engine=Engine(1))
    assert np.isfinite(deletion.losses).all()


def test_a_bank_is_opened_without_its_base(made, monkeypatch):
    loaded = []
    load = DiffusionModel.load
    monkeypatch.setattr(DiffusionModel, "load", lambda *a, **kw: [loaded.append(a), load(*a, **kw)][1])
    bank = Bank.open(made.path)
    assert bank.pool("test").losses.shape == (2, 2, 5)
    assert not loaded
    for _ in range(2):
        assert bank.base == made.base
        assert bank.encoders == made.encoders
        assert bank.parts == {"base": made.base, "encoding": made.path / "encoding"}
    assert len(loaded) == 1


USES = (lambda bank: bank.base, lambda bank: bank.encoders, lambda bank: bank.fingerprints)


def test_another_base_is_refused(stable_diffusion, tmp_path):
    base = shutil.copytree(stable_diffusion, tmp_path / "sd")
    options = {"config": CONFIG, "settings": replace_models(SETTINGS, 1), "base": base}
    build_bank(captioned("t", 12, 0), captioned("h", 4, 1), tmp_path / "bank", engine=Engine(1), **options)
    base.rename(tmp_path / "moved")
    assert Bank.open(tmp_path / "bank").queries == ("h0", "h1", "h2", "0/0", "0/1")
    for use in USES:
        with pytest.raises(ArtefactError, match="The base of"):
            use(Bank.open(tmp_path / "bank"))
    shutil.copytree(tmp_path / "moved", base)
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(weights | {"conv_in.bias": weights["conv_in.bias"] + 1}, file, {"format": "pt"})
    for use in USES:
        with pytest.raises(MismatchError, match=r"sd is another base than .*bank was trained on"):
            use(Bank.open(tmp_path / "bank"))
    with pytest.raises(ConfigError, match="the models take no text"):
        build_bank(captioned("t", 12, 0), captioned("h", 4, 1), tmp_path / "b", prompts=PROMPTS)


def replace_models(settings: BankConfig, count: int) -> BankConfig:
    return settings.model_copy(update={"models": count})


def test_without_prompts_queries_are_drawn_from_the_captions(stable_diffusion, tmp_path):
    options = {"config": CONFIG, "settings": replace_models(SETTINGS, 1), "base": stable_diffusion}
    data = replace(captioned("t", 12, 0), captions=("one",) * 6 + ("two",) * 6)
    bank = build_bank(data, captioned("h", 4, 1), Path(tmp_path / "bank"), engine=Engine(1), **options)
    assert bank.queries_data.captions[3:] == ("one", "two")


@pytest.mark.parametrize("prompts", [None, Prompts(guidance=2.0, negative="x")])
def test_captions_stand_in_for_prompts_without_words(stable_diffusion, prompts):
    data = replace(captioned("t", 12, 0), captions=("one",) * 6 + ("two",) * 6)
    own = BankRequest.make(data, captioned("h", 4, 1), CONFIG, SETTINGS, stable_diffusion, prompts).prompts
    assert own == replace(prompts or Prompts(guidance=7.5), texts=("one", "two"))
