"""Attribution of the run of an adapter: its layers, its checkpoints and draws, and its base, which is verified."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.attribution.target import Target
from whence.config import Config
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.conditioner import TEXT
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.prompts import Prompts
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, MismatchError

CONFIG = (
    Config()
    .updated("training", steps=6, batch_size=4, warmup=0, checkpoints=6, learning_rate=1e-2, seed=3)
    .updated("adapter", rank=4, alpha=6.0, target="attn2")
    .updated("training", caption_dropout=0.5)
)
FEW = AttributionConfig(draws=8, curvature_rows=24, compression={"width": 64})
QUERIES = {"method": "ddim", "steps": 3, "prompts": Prompts(("picture 1",), guidance=2.0)}


@pytest.fixture(scope="module")
def lora(data, stable_diffusion, tmp_path_factory) -> Path:
    """A run of three epochs with a checkpoint after each step; only to be read."""
    path = tmp_path_factory.mktemp("adapter") / "lora"
    train(data, path, CONFIG, base=stable_diffusion)
    return path


def test_the_target_is_the_base_with_the_adapter(lora, data, stable_diffusion):
    target = Target.open(lora)
    assert target.name == "lora"
    target.require_data(data)
    with pytest.raises(MismatchError, match="lora was trained on data with the fingerprint"):
        target.require_data(data.select(range(7)))
    expected = DiffusionModel.load(stable_diffusion, adapters=(Adapter(lora),))
    t, make = torch.tensor([10, 900]), torch.Generator().manual_seed(0)
    x, text = torch.randn(2, 4, 8, 8, generator=make), torch.randn(2, 16, 16, generator=make)
    with torch.no_grad():
        ours, theirs = (model.output(x, t, encoder_hidden_states=text) for model in (target.model, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    assert target.fingerprint == fingerprint(target.model)
    assert target.encoders.text.fingerprint == Encoders.of(stable_diffusion).text.fingerprint


def test_losses_of_the_record_come_again_at_the_recorded_draws(lora, data):
    """The checkpoint after k steps has the losses of step k, from the draws and captions that training gave."""
    record, examples = Record(lora), Encoders.of(Target.open(lora).runs[0].base).encode(data)
    assert 0 < record["dropped"].float().mean() < 1
    [last] = [c for c in Target.open(lora).checkpoints("record", data.ids) if c.source.last == 2]
    for step, file in enumerate(sorted((lora / "checkpoints").iterdir())[:-1], 1):
        model = Target.open(lora).runs[0].checkpoint(file).open()
        ids, visits = record.batch(step), record["visits"][step].numpy()
        rows = [data.index_of(name) for name in ids]
        index = last.source.last - visits
        source = last.source.__class__(**{**vars(last.source), "visits": 3})
        x, (t, noise) = source.x(examples, np.array(rows), index), source(ids, index, examples.size)
        conditions = source.conditions(examples.conditions_of(rows), ids, index)
        with torch.no_grad():
            losses = model.loss(x, t, noise, **conditions)
        torch.testing.assert_close(losses, record["losses"][step], atol=1e-6, rtol=1e-5)
        empty = Encoders.of(Target.open(lora).runs[0].base).conditions([""])[TEXT][[0]]
        dropped = (conditions[TEXT] == empty).flatten(1).all(1)
        assert torch.equal(dropped, record["dropped"][step])


@pytest.mark.parametrize(("over", "count"), [("model", 1), ("checkpoints", 6), ("record", 3)])
def test_the_checkpoints_are_on_the_base(lora, data, stable_diffusion, over, count):
    checkpoints = Target.open(lora).checkpoints(over, data.ids)
    assert len(checkpoints) == count
    for own in checkpoints:
        assert own.checkpoint.folder == stable_diffusion
        assert own.checkpoint.parameters == "lora_"
        assert own.checkpoint.adapters == (Adapter(lora, scale=1.5),)
        assert (own.source is not None) == (over == "record")
        if own.checkpoint.weights:
            weights, model = artefacts.read_tensors(own.checkpoint.weights), own.checkpoint.open()
            trained = {name: p for name, p in model.network.named_parameters() if p.requires_grad}
            assert all(torch.equal(p, weights[f"weights/{name}"]) for name, p in trained.items())


@pytest.mark.slow
def test_scores_of_drawn_pictures(data, stable_diffusion, tmp_path):
    train(data, tmp_path / "lora", CONFIG.updated("training", steps=2, checkpoints=1), base=stable_diffusion)
    target = Target.open(tmp_path / "lora")
    queries = target.queries("sample:2", **QUERIES)
    methods = ["d-trak", "tracin-cp", "tracin", "pixel", "ek-fac"]
    results = attribute(target, data, queries, methods, config=FEW, out=tmp_path / "scores", engine=Engine(1))
    units = dict(zip(data.ids, data.units, strict=True))
    for scores in results.values():
        assert scores.scores.shape == (2, 8)
        assert scores.scores.isfinite().all()
        assert scores.scores.std() > 0
        assert scores.units == tuple(units[name] for name in scores.examples)
    layers = [artefacts.read_json(file) for file in (tmp_path / "scores/features").rglob("subject/coverage.json")]
    assert len(layers) > 1
    assert all(".lora_" in name for rows in layers for name, *_ in rows)


def test_the_mean_over_two_runs(lora, data, stable_diffusion, tmp_path):
    train(data, tmp_path / "other", CONFIG.updated("training", seed=4), base=stable_diffusion)
    target = Target.mean([lora, tmp_path / "other"])
    assert [own.weight for own in target.checkpoints("model", data.ids)] == [0.5, 0.5]


def test_a_base_that_moved_is_found_from_the_run_or_is_given(data, stable_diffusion, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stable_diffusion, "models/sd")
    train(data, "runs/lora", CONFIG, base="models/sd")
    assert Target.open("runs/lora").runs[0].base == Path("models/sd")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Target.open("../runs/lora").model.size == (4, 8, 8)
    Path("../models").rename("../gone")
    with pytest.raises(ArtefactError, match=r"models/sd does not exist. Say where it is now: --base BASE"):
        Target.open("../runs/lora")
    assert Target.open("../runs/lora", base="../gone/sd").runs[0].base == Path("../gone/sd")


def test_what_is_refused(lora, stable_diffusion, tmp_path):
    base = shutil.copytree(stable_diffusion, tmp_path / "sd")
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"] += 1
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(MismatchError, match=r"is another base .*\n  network: trained on \w{12}, there \w{12}\nGive"):
        Target.open(lora, base=base)
    with pytest.raises(ConfigError, match="is no run of an adapter. Leave --base out"):
        Target.open(stable_diffusion, base=base)
    with pytest.raises(ConfigError, match="Adapters are put on a model in a folder"):
        Target.open(lora, [Adapter(lora)])
    with pytest.raises(ConfigError, match="was trained at the resolution of its base; given 24"):
        Target.mean([lora], resolution=24)
    tensors = load_file(next((lora / "checkpoints").iterdir()))
    del tensors[next(name for name in tensors if "lora_A" in name)]
    save_file(tensors, tmp_path / "part.safetensors")
    partial = Checkpoint(stable_diffusion, tmp_path / "part.safetensors", "lora_", (Adapter(lora),))
    with pytest.raises(ArtefactError, match="is not of the adapters on this model"):
        partial.open()


def test_a_damaged_adapter(lora, tmp_path, flip_byte):
    run = shutil.copytree(lora, tmp_path / "lora")
    flip_byte(run / "pytorch_lora_weights.safetensors")
    with pytest.raises(ArtefactError, match="is damaged: its SHA-256"):
        Target.open(run)
