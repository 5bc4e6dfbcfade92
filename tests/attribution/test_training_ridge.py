"""The ridge of training: its formula layer by layer, the scores at it against explicit inverses, and what has none."""

import numpy as np
import pytest
import torch

from whence.attribution.attribute import attribute
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.request import AttributionConfig
from whence.attribution.tangent import tangent
from whence.attribution.target import Target
from whence.attribution.training_ridge import TrainingRidge
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.engine import Engine
from whence.errors import ConfigError
from whence.gradients.layers import coverage

AUTO = AttributionConfig(draws=8, damping="auto")


def test_what_a_run_says(recorded_run):
    [checkpoint] = Target.open(recorded_run).checkpoints("model", ())
    ridge = TrainingRidge.of(checkpoint)
    layers = coverage(DiffusionModel.load(recorded_run).network).layers
    assert ridge.sizes == tuple(layer.size for layer in layers.values())
    assert ridge.batch == 4
    assert ridge.rates == pytest.approx(sum(float(rate) for rate in Record(recorded_run)["learning_rate"]))


def test_units_layer_by_layer():
    """λ_l = N √(ρ m_l) / (Σ η √(T B P_l)), in loops."""
    examples = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 5))).float()
    losses = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    squares = [float(part.double().square().sum()) for part in (examples[:, :2], examples[:, 2:])]
    found = TrainingRidge(3.0, 4, (10, 40)).units(squares, float(losses.double().mean()), 6, 16)
    for unit, columns, size in zip(found, ([0, 1], [2, 3, 4]), (10, 40), strict=True):
        square = sum(float(examples[n, column]) ** 2 for n in range(6) for column in columns) / 6
        assert unit == pytest.approx(6 * (0.35 * square) ** 0.5 / (3.0 * (16 * 4 * size) ** 0.5), rel=1e-6)


def test_it_does_not_depend_on_the_number_of_draws():
    """Means of T independent draws have a T-th of the squares; the ridge then is a T-th of that of one draw."""
    ridge = TrainingRidge(3.0, 4, (10,))
    assert ridge.units([6 / 16], 0.25, 6, 16)[0] * 16 == pytest.approx(ridge.units([6.0], 0.25, 6, 1)[0])


def test_scores_at_units_of_layers():
    generator = torch.Generator().manual_seed(0)
    examples, queries = (torch.randn(n, 5, generator=generator) for n in (6, 3))
    units = (0.5, 2.0)
    found = tangent(FeaturePair(examples, queries, widths=(2, 3), units=units), 3.0)
    expected = torch.zeros(3, 6, dtype=torch.float64)
    for place, unit in zip((slice(0, 2), slice(2, 5)), units, strict=True):
        phi, phi_q = examples[:, place].double(), queries[:, place].double()
        kernel = phi @ phi.T + 3.0 * unit * torch.eye(6, dtype=torch.float64)
        expected += phi_q @ phi.T @ torch.linalg.inv(kernel) / 2
    torch.testing.assert_close(found, expected)


def test_attribution_at_the_ridge(recorded_run, few_digits, tmp_path):
    given = {"config": AUTO, "engine": Engine(1), "out": tmp_path / "scores"}
    scores = attribute(recorded_run, few_digits, "sample:2", ["tangent", "tangent-squared"], **given)
    shares = scores["tangent"].scores
    torch.testing.assert_close(scores["tangent-squared"].scores, shares * shares.abs(), rtol=1e-4, atol=1e-9)
    assert scores["tangent"].standard_error is not None
    assert (tmp_path / "scores" / "tangent-damping-auto").is_dir()
    usual = given | {"config": AttributionConfig(draws=8), "out": None, "store": tmp_path / "scores" / "features"}
    found = attribute(recorded_run, few_digits, "sample:2", "tangent", **usual)["tangent"]
    assert not torch.allclose(found.scores, shares, rtol=1e-2)


@pytest.mark.parametrize("method", ["d-trak", "trak", "ek-fac"])
def test_other_methods_have_no_ridge(recorded_run, few_digits, method):
    with pytest.raises(ConfigError, match="--damping auto is for tangent, tangent-squared"):
        attribute(recorded_run, few_digits, "sample:2", method, config=AUTO)


def test_a_model_without_a_record_has_no_ridge(recorded_run, few_digits):
    with pytest.raises(ConfigError, match="no record of its training"):
        attribute(DiffusionModel.load(recorded_run), few_digits, "sample:2", "tangent", config=AUTO)
