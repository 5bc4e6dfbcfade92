"""Attribution at samples and mirror images of latents: recorded draws, gradients, defaults and refusals."""

from pathlib import Path

import numpy as np
import pytest
import torch

from whence import AttributionConfig, artefacts
from whence.attribution.attribute import attribute
from whence.attribution.target import Target
from whence.attribution.training_examples import latents_of, training_examples
from whence.config import Config
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.latents import Latents
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ConfigError
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.features import Feature, Sums, add_draws
from whence.gradients.layers import coverage

CONFIG = (
    Config()
    .updated("model", channels=(8,), attention=0)
    .updated("training", steps=6, batch_size=4, warmup=0, checkpoints=6, learning_rate=1e-3, seed=3)
    .updated("training", latents="sample", flip=True)
)
ADAPTER = CONFIG.updated("adapter", rank=2, target="attn2").updated("training", caption_dropout=0.5)
FEW = AttributionConfig(draws=8, compression={"width": 64})
SAMPLED = ", with a sample of the latents at each draw"


@pytest.fixture(scope="module")
def trained(data, latent_diffusion, tmp_path_factory):
    """Trains a network of latents by some changes of the settings; the same changes are trained once."""
    folder, runs = tmp_path_factory.mktemp("runs"), {}

    def train_with(**changes: object) -> Path:
        name = "-".join(f"{key}={value}" for key, value in changes.items()) or "sample"
        if name not in runs:
            runs[name] = folder / name
            train(data, runs[name], CONFIG.updated("training", **changes), autoencoder=latent_diffusion)
        return runs[name]

    return train_with


@pytest.fixture(scope="module")
def lora(data, stable_diffusion, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("adapter") / "lora"
    train(data, path, ADAPTER, base=stable_diffusion)
    return path


@pytest.mark.parametrize("kind", ["adapter", "network"])
def test_losses_of_the_record_come_again_at_the_recorded_draws(request, data, trained, kind):
    run = request.getfixturevalue("lora") if kind == "adapter" else trained()
    target, record = Target.open(run), Record(run)
    examples = training_examples(target, data, None, None)
    [last] = [c for c in target.checkpoints("record", data.ids) if c.source.last == 2]
    source = last.source.__class__(**{**vars(last.source), "visits": 3})
    assert source.sampled
    assert 0 < record["flipped"].float().mean() < 1
    for step, own in list(enumerate(target.checkpoints("checkpoints", data.ids), 1))[:-1]:
        ids, visits = record.batch(step), record["visits"][step].numpy()
        rows, index = np.array([data.index_of(name) for name in ids]), source.last - visits
        x, (t, noise) = source.x(examples, rows, index), source(ids, index, examples.size)
        conditions = source.conditions(examples.conditions_of(rows), ids, index)
        model = own.checkpoint.open()
        with torch.no_grad():
            losses = model.loss(x, t, noise, **conditions)
        torch.testing.assert_close(losses, record["losses"][step], atol=1e-6, rtol=1e-5)


def test_gradients_at_samples_are_those_of_autograd(data, trained):
    """The inner products of mean gradients over eight draws, against one backward pass for each draw."""
    target, draws = Target.open(trained()), Draws(7)
    model, three = target.model, data.select([0, 1, 2])
    examples = target.encoders.encode(three, augmentation=Augmentation(0, sampled=True))
    cover = coverage(model.network)
    collector = Collector(model.network, cover, maps(cover, Compression(kind="none")))
    sums = {Feature("loss"): Sums.empty(3, collector.maps.width)}
    add_draws(model, collector, examples, OwnDraws(draws, sampled=True), range(8), sums, 8)
    found = sums[Feature("loss")].sums.sum(0) / 8
    expected, tensors = [], examples.values.tensors
    for n, name in enumerate(examples.ids):
        total = torch.zeros(sum(p.numel() for p in model.network.parameters()))
        for k in range(8):
            t, noise = draws([name], [k], examples.size)
            sample = normals(keys("posterior", 7, [name]), np.array([k]), examples.size)
            x = tensors["values"][[n]] + tensors["deviation"][[n]] * sample
            output = model.network(model.scheduler.add_noise(x, noise, t), t).sample
            loss = (output - model.scheduler.get_velocity(x, noise, t)).square().mean()
            gradients = torch.autograd.grad(loss, list(model.network.parameters()))
            total += torch.cat([gradient.flatten() for gradient in gradients]) / 8
        expected.append(total)
    expected = torch.stack(expected)
    torch.testing.assert_close(found @ found.T, expected @ expected.T, atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_a_run_is_attributed_as_it_was_trained(data, trained, tmp_path):
    sample, mode = trained(checkpoints=1), trained(checkpoints=1, latents="mode", flip=False)
    methods, found = ["tangent", "tracin"], {}
    for name, run, choice in (
        ("sample", sample, None),
        ("sample at mode", sample, "mode"),
        ("mode", mode, None),
        ("mode at sample", mode, "sample"),
    ):
        config = FEW.model_copy(update={"latents": choice})
        found[name] = attribute(run, data, "sample:2", methods, config=config, out=tmp_path / name, engine=Engine(1))
        sampled = {"tangent": name in ("sample", "mode at sample"), "tracin": run == sample}
        for method, scores in found[name].items():
            assert scores.scores.isfinite().all()
            assert scores.estimand.process.endswith(SAMPLED) == sampled[method], (name, method)
        made = artefacts.read_manifest(tmp_path / name / "request", "attribution").made["config"]
        assert made.get("latents") == ("sample" if sampled["tangent"] else None)
    for one, other in (("sample", "sample at mode"), ("mode", "mode at sample")):
        assert torch.equal(found[one]["tracin"].scores, found[other]["tracin"].scores), "training saw what it saw"
        assert not torch.equal(found[one]["tangent"].scores, found[other]["tangent"].scores)


@pytest.mark.slow
def test_workers_and_order_change_no_bit(data, trained, contents, tmp_path):
    run = trained(checkpoints=1)
    for workers in (1, 2):
        attribute(run, data, "sample:1", "tangent", config=FEW, out=tmp_path / f"{workers}", engine=Engine(workers))
    assert contents(tmp_path / "1" / "tangent") == contents(tmp_path / "2" / "tangent")


def test_queries_are_at_the_mean(data, trained):
    target = Target.open(trained())
    assert isinstance(training_examples(target, data, None, None).values, Latents)
    assert isinstance(target.encoders.encode_queries(data).values, torch.Tensor)


def test_what_is_refused(data, trained, latent_diffusion_folder, tmp_path):
    vq, mixed = latent_diffusion_folder("vq"), Target.mean([trained(), trained(latents="mode", flip=False)])
    sample = AttributionConfig(draws=8, latents="sample")
    with pytest.raises(ConfigError, match="latents = sample needs the Gaussian posterior of an AutoencoderKL"):
        attribute(vq, data, "sample:1", "tangent", config=sample)
    with pytest.raises(ConfigError, match="is for networks of latents; this one denoises the pictures themselves"):
        attribute(DiffusionModel.new(CONFIG.model, (3, 16, 16), 0), data, "sample:1", "tangent", config=sample)
    with pytest.raises(ConfigError, match="Some runs of .* --latents mode or --latents sample"):
        attribute(mixed, data, "sample:1", "tangent")
    assert latents_of(mixed, "mode") == "mode"
    tensors = Examples(data.ids, torch.zeros(8, 3, 8, 8))
    with pytest.raises(ConfigError, match="tensors have no posterior. Give the training images as a Dataset"):
        attribute(trained(), tensors, "sample:1", "tangent", config=FEW)
