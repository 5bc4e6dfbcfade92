"""Standard errors: against the textbook, and how often their intervals hold the truth."""

import pytest
import torch
from scipy.stats import t as student

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.gradient import gradient_dot
from whence.attribution.trak import trak
from whence.gradients.features import group
from whence.scores.jackknife import GROUPS, Jackknife
from whence.scores.scores import Estimand, Scores

DRAWS = 64


def jackknife(estimate, draws) -> Jackknife:
    """The jackknife of an estimate [Q, N] from draws [T, ...], by leaving out their groups."""
    groups = torch.tensor([group(k) for k in range(len(draws))])
    value = estimate(draws)
    found = Jackknife.zeros(*value.shape)
    found.add(None, value)
    for g in range(GROUPS):
        found.add(g, estimate(draws[groups != g]))
    return found


def textbook(estimate, draws) -> torch.Tensor:
    """√((G - 1) / G Σ_g (θ₍g₎ - θ̄)²), written out."""
    groups = torch.tensor([group(k) for k in range(len(draws))])
    without = [estimate(draws[groups != g]) for g in range(GROUPS)]
    mean = sum(without) / GROUPS
    return ((GROUPS - 1) / GROUPS * sum((one - mean) ** 2 for one in without)).sqrt()


def _draws(seed: int, count: int = DRAWS) -> torch.Tensor:
    """Draws of five examples and four queries of six features [T, 9, 6]: known means plus independent noise."""
    means = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = torch.randn(count, 9, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return means + 0.7 * noise


def _estimate(method, draws: torch.Tensor) -> torch.Tensor:
    mean = draws.mean(0)
    return method(FeaturePair(mean[:5], mean[5:]), 0.5)


METHODS = {"dot": gradient_dot, "trak": trak}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("count", [8, 13, 64])
def test_standard_errors_are_those_of_the_textbook(name, count):
    draws = _draws(1, count)
    found = jackknife(lambda some: _estimate(METHODS[name], some), draws)
    expected = textbook(lambda some: _estimate(METHODS[name], some), draws)
    torch.testing.assert_close(found.standard_error().double(), expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.value, _estimate(METHODS[name], draws))


def test_the_error_of_a_mean_is_that_of_its_groups():
    draws = _draws(2)[:, :1, 0].reshape(-1, 1, 1)
    groups = torch.tensor([group(k) for k in range(DRAWS)])
    means = torch.stack([draws[groups == g].mean() for g in range(GROUPS)])
    found = jackknife(lambda some: some.mean(0), draws).standard_error().item()
    assert found == pytest.approx((means.var() / GROUPS).sqrt().item(), rel=1e-4)


@pytest.mark.parametrize(("name", "lowest"), [("dot", 0.85), ("trak", 0.80)])
def test_intervals_hold_the_truth_as_often_as_they_say(name, lowest):
    truth = _estimate(METHODS[name], _draws(3, 1) - 0.7 * _noise(3))
    reach, held = student.ppf(0.95, GROUPS - 1), []
    for seed in range(200):
        found = jackknife(lambda some: _estimate(METHODS[name], some), _draws(1000 + seed))
        held.append((found.value - truth).abs() <= reach * found.standard_error())
    assert lowest <= torch.stack(held).float().mean() <= 0.95


def _noise(seed: int) -> torch.Tensor:
    return torch.randn(1, 9, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_sums_over_sets_of_weights_are_jackknifed_as_one():
    first, second = _draws(4), _draws(5)
    both = torch.stack([first, second], 1)
    found = Jackknife.zeros(4, 5)
    for draws, weight in ((first, 0.2), (second, 3.0)):
        one = jackknife(lambda some, w=weight: w * _estimate(gradient_dot, some), draws)
        found.value += one.value
        found.differences += one.differences
    expected = textbook(
        lambda some: 0.2 * _estimate(gradient_dot, some[:, 0]) + 3 * _estimate(gradient_dot, some[:, 1]), both
    )
    torch.testing.assert_close(found.standard_error().double(), expected, rtol=1e-4, atol=1e-7)


def test_errors_of_units_are_those_of_their_sums():
    draws, units = _draws(6), (("u",), ("v", "u"), ("u",), ("v",), ("w",))
    found = jackknife(lambda some: _estimate(gradient_dot, some), draws)
    scores = Scores(
        scores=found.value.float(),
        queries=tuple("wxyz"),
        examples=tuple("abcde"),
        units=units,
        method="gradient-dot",
        estimand=Estimand("", "", "", "", "example"),
        sign="positive is proponent",
        combine="sum",
        standard_error=found.standard_error(),
        draws=DRAWS,
        deviations=found.deviations(),
    ).by_unit()
    for u, rows in enumerate(([0, 1, 2], [1, 3], [4])):
        expected = textbook(lambda some, r=rows: _estimate(gradient_dot, some)[:, r].sum(1), draws)
        torch.testing.assert_close(scores.standard_error[:, u].double(), expected, rtol=3e-3, atol=1e-6)
        assert scores.scores[:, u] == pytest.approx(found.value[:, rows].sum(1).numpy(), rel=1e-5)


def test_scores_without_any_error_have_no_deviations():
    found = jackknife(lambda some: _estimate(gradient_dot, some), _draws(7)[:1].expand(DRAWS, -1, -1))
    assert found.standard_error().abs().max() < 1e-5
    assert found.deviations().isfinite().all()
