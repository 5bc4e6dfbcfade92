"""Weights of examples: a visited image counts as often as it is visited, in training and in every method."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from whence import artefacts
from whence.attribution.attribute import attribute as attribute_with
from whence.attribution.das import das
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.gradient import gradient_cosine, gradient_dot
from whence.attribution.methods import METHODS
from whence.attribution.normalised_influence import relative_influence, renormalised_influence
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.tangent import tangent, tangent_squared
from whence.attribution.trak import trak
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import Dataset
from whence.data.recipe import Recipe
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ConfigError, DataError, MismatchError
from whence.gradients.compression import Compression
from whence.kernel.kernel import Kernel

CONFIG = AttributionConfig(draws=8, compression=Compression(width=200))
attribute = partial(attribute_with, engine=Engine(1))
FUNCTIONS = [gradient_dot, gradient_cosine, trak, relative_influence, renormalised_influence, das, tangent]
VISITS = torch.tensor([3, 1, 2, 5, 1, 1, 4, 2, 1, 1, 2, 1])


def normal(n, p, seed=0):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("function", [*FUNCTIONS, tangent_squared], ids=lambda one: one.__name__)
def test_weights_are_as_many_copies_of_an_example(function):
    examples, queries, losses = normal(12, 6), normal(3, 6, 1), torch.rand(12) + 0.1
    weighted = FeaturePair(examples, queries, losses, weights=VISITS, widths=(4, 2))
    rows = torch.repeat_interleave(torch.arange(12), VISITS)
    copied = function(FeaturePair(examples[rows], queries, losses[rows], widths=(4, 2)), 0.7)
    first = torch.cumsum(VISITS, 0) - VISITS
    assert torch.allclose(function(weighted, 0.7), copied[:, first], rtol=1e-6)


@pytest.mark.parametrize("shape", [(12, 5), (12, 40)], ids=["few features", "many features"])
@pytest.mark.parametrize("dampings", [[0.7], [0.2, 0.7]], ids=["solved", "decomposed"])
def test_a_weighted_kernel_against_an_explicit_inverse(shape, dampings):
    phi, queries, w = normal(*shape), normal(3, shape[1], 1), VISITS.double() / 2
    kernel = Kernel(phi, queries, w)
    for damping in dampings:
        scores, leverage, relative = kernel.scores(damping), kernel.leverage(damping), kernel.relative(damping)
    double = phi.double()
    weighted = double.T @ (w[:, None] * double)
    strength = dampings[-1] * weighted.trace() / min(shape)
    moved = torch.linalg.inv(weighted + strength * torch.eye(shape[1], dtype=torch.float64)) @ double.T
    assert kernel.absolute(dampings[-1]) == pytest.approx(strength.item())
    assert torch.allclose(scores, queries.double() @ moved, rtol=1e-5, atol=1e-8)
    assert torch.allclose(leverage, (double * moved.T).sum(1), rtol=1e-5)
    assert torch.allclose(relative, moved.norm(dim=0), rtol=1e-4)


@pytest.mark.parametrize("weights", [torch.ones(3), torch.tensor([1.0, 0.0])])
def test_a_kernel_needs_a_weight_above_0_for_each_example(weights):
    with pytest.raises(ConfigError, match="kernel of 2 examples needs a weight above 0 for each"):
        Kernel(normal(2, 3), normal(1, 3), weights)


@pytest.fixture(scope="module")
def visited(few_digits) -> Dataset:
    """The digits with weights of mean 1."""
    return few_digits.with_fields(weights=(2.0, 0.5, 0.5, 1.0, 1.0, 2.0, 0.5, 0.5, 1.0, 1.0))


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), "1"])
def test_weights_of_a_data_set_are_above_0(few_digits, weight):
    with pytest.raises(DataError, match="a finite number above 0 is expected"):
        few_digits.with_fields(weights=(weight,) * 10)


def test_weights_are_part_of_the_data(few_digits, visited):
    assert few_digits.with_fields(weights=(1,) * 10).fingerprint == few_digits.fingerprint != visited.fingerprint
    assert visited.select([5, 1]).weights == (2.0, 0.5)
    assert visited.ungrouped.weights == visited.weights
    with pytest.raises(DataError, match="10 ids, but 9 weights"):
        few_digits.with_fields(weights=(2.0,) * 9)


def test_training_on_weighted_data_is_that_with_these_weights(few_digits, visited, tmp_path, contents):
    training = TrainingConfig(steps=4, batch_size=4, learning_rate=2e-3, checkpoints=2, warmup=2)
    config = Config(model=ModelConfig(channels=(8,), groups=4, attention=0), training=training)
    weights = dict(zip(few_digits.ids, visited.weights, strict=True))
    removed = {few_digits.ids[0]: 0.0}
    for name, data, given in (("data", visited, removed), ("given", few_digits, weights | removed)):
        train(data, tmp_path / name, config, weights=given)
    assert contents(tmp_path / "data") == contents(tmp_path / "given")
    assert Record(tmp_path / "data").weights == (0.0, *visited.weights[1:])
    with pytest.raises(MismatchError):
        train(few_digits, tmp_path / "data", config, weights=removed)


@pytest.mark.parametrize("name", ["gradient-dot", "gradient-cosine", "tracin-cp"])
def test_scores_without_a_kernel_are_multiplied_by_the_visits(recorded_run, few_digits, visited, drawn, name):
    plain = attribute_on(recorded_run, few_digits, drawn, name)
    weighted = attribute_on(recorded_run, visited, drawn, name)
    expected = plain.scores * torch.tensor(visited.weights)
    assert torch.allclose(weighted.scores, expected, rtol=1e-5)
    assert torch.allclose(weighted.standard_error, plain.standard_error * torch.tensor(visited.weights), rtol=1e-5)


def attribute_on(run, data, drawn, name):
    """Scores of a model from elsewhere, whose training data are not recorded."""
    from whence.diffusion.model import DiffusionModel

    return attribute(DiffusionModel.load(run), data, drawn, name, config=CONFIG)[name]


def test_scores_with_a_kernel_are_those_of_all_copies(recorded_run, few_digits, drawn):
    from whence.diffusion.model import DiffusionModel

    narrow = CONFIG.model_copy(update={"compression": Compression(kind="dense", width=4)})
    model, rows, method = (
        DiffusionModel.load(recorded_run),
        [0, 0, 0, *range(1, 10)],
        replace(METHODS["trak"], shared=True),
    )
    copies = few_digits.select(range(10))
    names = tuple(f"{few_digits.ids[row]} {n}" for n, row in enumerate(rows))
    copied = Dataset(names, copies.pixels[rows], tuple((name,) for name in names), (None,) * len(rows))
    weights = tuple(10 * count / 12 for count in (3, *[1] * 9))
    found = attribute(model, few_digits.with_fields(weights=weights), drawn, method, config=narrow)["trak"].scores
    slow = attribute(model, copied, drawn, method, config=narrow)["trak"].scores
    summed = torch.cat([slow[:, :3].sum(1, keepdim=True), slow[:, 3:]], 1)
    assert torch.allclose(found, summed, rtol=1e-3)


def test_scores_of_other_weights_are_refused(recorded_run, few_digits, visited, drawn, tmp_path):
    from whence.diffusion.model import DiffusionModel

    model = DiffusionModel.load(recorded_run)
    attribute(model, few_digits, drawn, "gradient-dot", config=CONFIG, out=tmp_path)
    with pytest.raises(MismatchError, match="weights"):
        attribute(model, visited, drawn, "gradient-dot", config=CONFIG, out=tmp_path)
    request = AttributionRequest.of(model, visited, drawn, "gradient-dot", CONFIG)
    assert request.inputs["weights"] == artefacts.digest(request.weights)


def test_a_training_follows_the_recipe_or_is_refused(few_digits, tiny_config, tmp_path):
    flipped = few_digits.with_fields(recipe=Recipe("cats.toml", flip=True))
    with pytest.raises(ConfigError, match=r"cats.toml says that flip is True, and training.flip is False"):
        train(flipped, tmp_path / "run", tiny_config)
    train(flipped, tmp_path / "run", flipped.recipe.follow(tiny_config))
    assert Record(tmp_path / "run").training.flip
