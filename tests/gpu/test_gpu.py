"""What has to hold on a GPU; `make gpu` runs it. The bounds are those of float32, computed in another order."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import whence
from whence.attribution.feature_folder import FeatureFolder
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.config import AdapterConfig, Config, SamplerConfig, TrainingConfig
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.diffusion.record import Record
from whence.engine import Engine
from whence.retraining.measurement import draw_pixels

pytestmark = pytest.mark.gpu

CPU = Engine(1, accelerator="cpu")
NAMES = [f"picture {n}" for n in range(64)]
METHODS = ["trak", "d-trak", "das", "tangent", "tangent-squared"]
#: Largest difference of features, relative to the largest feature of a picture.
FEATURES = 1e-4
#: Largest difference of a pixel of a drawn picture, in levels of 256.
LEVELS = 2


@pytest.fixture
def on_gpu(gpu) -> Engine:
    return Engine(1, accelerator=str(gpu))


def features(run: Path, data, queries, folder: Path, engine: Engine, autocast: bool = False) -> list[torch.Tensor]:
    """Features of the examples by the loss and by signs."""
    config = AttributionConfig(draws=16, autocast=autocast)
    plan = FeaturePlan.of(AttributionRequest.of(run, data, queries, ["trak", "tangent"], config))
    store = FeatureFolder(folder)
    store.extend(plan, engine=engine)
    terms = [(method, term) for method, terms in plan.terms.items() for term in terms]
    return [store.features(plan, term.examples, method.feature).mean() for method, term in terms]


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference of a row, relative to the largest value of the row."""
    return float(((one - other).abs().amax(1) / other.abs().amax(1)).max())


def test_draws_have_the_same_timesteps_and_noise_to_the_last_bit_but_one(gpu):
    draws, index = Draws(seed=3, offset=0.1, antithetic=True), np.arange(64)
    (t, noise), (t_gpu, noise_gpu) = draws(NAMES, index, (4, 16, 16)), draws(NAMES, index, (4, 16, 16), gpu)
    assert torch.equal(t, t_gpu.cpu())
    assert torch.allclose(noise, noise_gpu.cpu(), rtol=0, atol=1e-6)
    key = keys("noise", 0, NAMES)
    one, other = normals(key, index, (1000,)), normals(key, index, (1000,), gpu).cpu()
    assert (one.view(torch.int32) - other.view(torch.int32)).abs().max() <= 1


def test_features_and_scores_are_those_of_the_cpu(run, digits, on_gpu, tmp_path):
    queries = whence.read_queries(DiffusionModel.load(run), "sample:4", engine=CPU)
    one = features(run, digits, queries, tmp_path / "cpu", CPU)
    other = features(run, digits, queries, tmp_path / "gpu", on_gpu)
    assert max(relative(a, b) for a, b in zip(other, one, strict=True)) < FEATURES
    config = AttributionConfig(draws=16)
    expected, found = (
        whence.attribute(run, digits, queries, METHODS, config=config, engine=engine) for engine in (CPU, on_gpu)
    )
    for name in METHODS:
        for row, own in zip(expected[name].scores, found[name].scores, strict=True):
            assert stats.spearmanr(row.numpy(), own.numpy()).statistic > 0.999


def test_features_are_the_same_bytes_again(run, digits, on_gpu, tmp_path):
    one, other = (features(run, digits, digits.select(range(2)), tmp_path / name, on_gpu) for name in "ab")
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_bfloat16_changes_features_little(run, digits, on_gpu, tmp_path):
    one, other = (
        features(run, digits, digits.select(range(2)), tmp_path / str(autocast), on_gpu, autocast)[0]
        for autocast in (False, True)
    )
    assert 0 < float((one - other).norm() / one.norm()) < 0.1


def test_pictures_are_those_of_the_cpu_and_the_same_bytes_again(run, on_gpu):
    model, names = DiffusionModel.load(run), [f"0/{n}" for n in range(8)]
    drawn = [draw_pixels(model, SamplerConfig(steps=20), names, engine).astype(int) for engine in (CPU, on_gpu, on_gpu)]
    assert (drawn[1] == drawn[2]).all()
    assert abs(drawn[0] - drawn[1]).max() <= LEVELS


def test_training_is_the_same_bytes_again_and_close_to_the_cpu(run, digits, config, on_gpu, tmp_path):
    for name in "ab":
        whence.train(digits, tmp_path / name, config, engine=on_gpu)
    weights = [DiffusionModel.load(path).network.state_dict() for path in (tmp_path / "a", tmp_path / "b", run)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    losses = [float(Record(path)["losses"].mean()) for path in (tmp_path / "a", run)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_an_ensemble_of_adapters_draws_what_the_cpu_draws(on_gpu, tmp_path):
    training = TrainingConfig(steps=3, batch_size=8, save_every=3, checkpoints=1, warmup=1)
    config = Config(training=training, adapter=AdapterConfig(rank=2), sampler=SamplerConfig(steps=4, batch_size=4))
    data = whence.load("styles", unit_column="contributor").select(range(0, 600, 50))
    whence.train_ensemble(data, tmp_path / "cpu", members=6, config=config, base="styles", engine=CPU)
    shutil.copytree(tmp_path / "cpu", tmp_path / "gpu")
    one, other = (
        whence.sample(whence.load_ensemble(tmp_path / name), count=2, engine=engine)
        for name, engine in (("cpu", CPU), ("gpu", on_gpu))
    )
    assert (one.pictures - other.pictures).abs().max() <= LEVELS / 127.5
