from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr

from whence.evaluation.prediction.ceiling import ceiling, ceiling_of, is_deterministic, seed_agreement, share_of_ceiling
from whence.statistics.correlations import Correlations, draw_resamples
from whence.statistics.ranks import resampled_spearman


def noisy(subsets: int, seeds: int, queries: int, r: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The truth [S, Q], and losses [S, K, Q] in which it has a share r of the variance."""
    source = np.random.default_rng(seed)
    truth = source.normal(size=(subsets, 1, queries)) * r**0.5
    return truth[:, 0], truth + source.normal(size=(subsets, seeds, queries)) * (1 - r) ** 0.5


@pytest.mark.parametrize("r", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_ceiling_is_what_the_truth_scores(r, seeds):
    truth, losses = noisy(3000, seeds, 10, r)
    mean = losses.mean(1)
    scored = np.mean([np.corrcoef(truth[:, q], mean[:, q])[0, 1] for q in range(10)])
    assert ceiling(r, seeds) == pytest.approx(scored, abs=0.01)
    ranked = np.mean([spearmanr(truth[:, q], mean[:, q]).statistic for q in range(10)])
    r_of_ranks = 6 / np.pi * np.arcsin(r / 2)
    assert ceiling(r_of_ranks, seeds) == pytest.approx(ranked, abs=0.02)  # close for ranks


@pytest.mark.parametrize(
    ("r", "seeds", "expected"), [(0.68, 1, 0.825), (0.68, 3, 0.930), (1.0, 5, 1.0), (0.0, 3, 0.0), (-0.4, 3, 0.0)]
)
def test_known_ceilings(r, seeds, expected):
    assert ceiling(r, seeds) == pytest.approx(expected, abs=5e-4)


def test_of_three_seeds_it_is_the_formula_of_the_issue():
    r = np.linspace(0.01, 1, 50)
    np.testing.assert_allclose(ceiling(r, 3), np.sqrt(3 * r / (1 + 2 * r)))


def test_more_seeds_raise_it():
    assert (np.diff([float(ceiling(0.4, seeds)) for seeds in range(1, 20)]) > 0).all()


def test_agreement_against_scipy():
    _, losses = noisy(20, 4, 6, 0.5)
    expected = [
        np.mean([spearmanr(losses[:, k, q], losses[:, other, q]).statistic for k, other in combinations(range(4), 2)])
        for q in range(6)
    ]
    counts = draw_resamples(20, seed=0)
    found = seed_agreement(losses, counts)
    np.testing.assert_allclose(found.of_query, expected, atol=1e-12)
    resampled = [resampled_spearman(losses[:, k], losses[:, other], counts) for k, other in combinations(range(4), 2)]
    np.testing.assert_allclose(found.resampled, np.mean(resampled, axis=0), atol=1e-12)


def test_one_seed_tells_nothing_of_seeds():
    assert seed_agreement(np.random.default_rng(0).normal(size=(8, 1, 3)), draw_resamples(8, seed=0)) is None


def test_interval_of_the_ceiling_holds_the_truth():
    held = 0
    for seed in range(40):
        _, losses = noisy(64, 2, 10, 0.6, seed)
        found = ceiling_of(seed_agreement(losses, draw_resamples(64, seed=seed, resamples=100)), 2)
        held += found.interval.low <= float(ceiling(6 / np.pi * np.arcsin(0.3), 2)) <= found.interval.high
    assert held >= 32


def test_share_of_the_truth_is_one():
    truth, losses = noisy(150, 3, 20, 0.6)
    counts = draw_resamples(150, seed=0, resamples=100)
    found = share_of_ceiling(
        Correlations.measure(truth, losses.mean(1), counts), seed_agreement(losses, counts), seeds=3
    )
    assert found.value == pytest.approx(1, abs=0.05)
    assert found.interval.low < found.value < found.interval.high


def test_where_seeds_do_not_agree_there_is_no_share():
    source, counts = np.random.default_rng(0), draw_resamples(20, seed=0)
    values = source.normal(size=(20, 3))
    losses = np.stack([values, -values], 1)
    agreement = seed_agreement(losses, counts)
    assert agreement.mean.value == -1
    assert ceiling_of(agreement, 2).value == 0
    assert np.isnan(share_of_ceiling(Correlations.measure(values, values, counts), agreement, 2).value)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [("deterministic-1%", True), ("deterministic-50%", True), ("test", False), ("development", False)],
)
def test_which_pools_repeat_the_run(pool, expected):
    assert is_deterministic(pool) is expected
