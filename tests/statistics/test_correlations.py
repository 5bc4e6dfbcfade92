import time

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from whence.statistics.correlations import (
    PUBLISHED,
    RESAMPLES,
    Correlations,
    difference,
    draw_resamples,
    shifted_interval,
)


def measured(subsets: int, queries: int, rho: float, seed: int, resamples: int = RESAMPLES) -> Correlations:
    """Correlations of normal numbers, each rho; queries share two things that differ between subsets."""
    source, angles = np.random.default_rng(seed), np.linspace(0, 3, queries)
    shared = np.stack([np.sin(angles), np.cos(angles)])
    a, b = (source.normal(size=(subsets, 2)) @ shared for _ in range(2))
    counts = draw_resamples(subsets, seed=seed + 1, resamples=resamples)
    return Correlations.measure(a, rho * a + (1 - rho**2) ** 0.5 * b, counts)


def test_resamples_draw_each_subset_equally_often():
    counts = draw_resamples(8, seed=0, resamples=4000)
    assert counts.shape == (4000, 8)
    assert (counts.sum(1) == 8).all()
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.07)


def test_the_interval_is_moved_to_where_the_value_is():
    resampled = np.random.default_rng(0).normal(0.4, 0.02, 1000)
    found = shifted_interval(0.41, resampled).interval
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert found.low == pytest.approx(low + 0.41 - resampled.mean())
    assert found.high == pytest.approx(high + 0.41 - resampled.mean())


def test_resamples_without_a_value_are_counted():
    found = shifted_interval(0.5, np.array([0.5, np.nan, 0.5])).interval
    assert (found.low, found.high, found.undefined, found.resamples) == (0.5, 0.5, 1, 3)


@pytest.mark.parametrize(("value", "resampled"), [(np.nan, [0.1, 0.2]), (0.5, [np.nan, np.nan])])
def test_without_a_value_there_is_no_interval(value, resampled):
    found = shifted_interval(value, np.array(resampled)).interval
    assert np.isnan([found.low, found.high]).all()


def test_an_interval_ends_at_the_bounds():
    found = shifted_interval(0.99, np.linspace(0.9, 1.0, 101), bounds=(-1, 1)).interval
    assert found.high == 1


def test_resampling_lowers_the_mean_and_the_interval_is_not_lowered():
    """Ties of subsets that are drawn twice; methods.md, section 3.3."""
    found = measured(32, 50, 0.6, seed=3)
    assert found.resampled_mean.mean() < found.mean.value - 0.003
    low, high = np.quantile(found.resampled_mean, [0.025, 0.975])
    assert found.mean.interval.low > low
    assert found.mean.interval.high > high


def test_coverage_of_the_mean():
    """The 95% interval holds what 24 subsets give on average, about 19 times in 20."""
    found = [measured(24, 6, 0.7, seed=seed, resamples=200).mean for seed in range(250)]
    truth = np.mean([one.value for one in found])
    held = np.mean([one.interval.low <= truth <= one.interval.high for one in found])
    assert 0.9 <= held <= 0.98


def test_the_bootstrap_mean_is_that_of_scipy():
    source = np.random.default_rng(1)
    a = source.normal(size=(40, 5))
    b = a + source.normal(size=(40, 5))

    def statistic(rows: np.ndarray) -> float:
        return np.mean([spearmanr(a[rows, q], b[rows, q]).statistic for q in range(5)])

    theirs = bootstrap(
        (np.arange(40),),
        statistic,
        n_resamples=100,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).bootstrap_distribution
    mean, sd = Correlations.measure(a, b, draw_resamples(40, seed=0)).published
    assert mean == pytest.approx(theirs.mean(), abs=5 * theirs.std() / PUBLISHED**0.5)
    assert sd == pytest.approx(theirs.std(), rel=0.35)


def test_published_are_the_first_resamples():
    found = measured(20, 4, 0.5, seed=0)
    drawn = found.resampled[:, :64].mean(0)
    assert found.published == (pytest.approx(drawn.mean()), pytest.approx(drawn.std()))


def test_queries_without_a_correlation_are_left_out_of_the_mean():
    of_query, resampled = np.array([0.5, np.nan, 0.1]), np.array([[0.5, 0.4], [np.nan, np.nan], [0.1, np.nan]])
    found = Correlations(of_query, resampled)
    assert found.mean.value == pytest.approx(0.3)
    np.testing.assert_allclose(found.resampled_mean, [0.3, np.nan])
    assert np.isnan(Correlations(of_query[1:2], resampled[1:2]).mean.value)


def test_difference_is_paired():
    """What a method adds is seen through the noise that both share."""
    source, counts = np.random.default_rng(5), draw_resamples(30, seed=5)
    truth, guess = source.normal(size=(30, 20)), source.normal(size=(30, 20))
    better, worse = (Correlations.measure(share * truth + guess, truth, counts) for share in (0.8, 0.6))
    found = difference(worse, better, subsets=30).statistic
    own = better.mean.interval
    assert found.value == pytest.approx(worse.mean.value - better.mean.value)
    assert found.interval.high < 0
    assert found.interval.high - found.interval.low < 0.7 * (own.high - own.low)


def test_a_method_does_not_differ_from_itself():
    one = measured(16, 5, 0.5, seed=1)
    found = difference(one, one, subsets=16)
    assert (found.statistic.value, found.statistic.interval.low, found.statistic.interval.high) == (0, 0, 0)
    assert not found.told_apart
    assert found.needed is None


def test_a_difference_is_of_queries_that_both_have():
    one, other = measured(16, 3, 0.9, seed=1), measured(16, 3, 0.1, seed=1)
    holed = Correlations(np.where([True, False, True], other.of_query, np.nan), other.resampled)
    found = difference(one, holed, subsets=16)
    assert found.queries == 2
    assert found.statistic.value == pytest.approx((one.of_query - other.of_query)[[0, 2]].mean())


@pytest.mark.parametrize("seed", range(3))
def test_needed_subsets_by_having_them(seed):
    """With four times as many as are needed the methods are told apart; with a quarter they are not."""

    def compared(subsets: int):
        source, counts = np.random.default_rng(seed), draw_resamples(subsets, seed=seed, resamples=200)
        truth, *noise = source.normal(size=(3, subsets, 4))
        first, second = (
            Correlations.measure(truth * share + n, truth, counts) for share, n in zip((1.2, 0.9), noise, strict=True)
        )
        return difference(first, second, subsets=subsets)

    needed = compared(300).needed
    assert 20 < needed < 100
    assert not compared(needed // 4).told_apart
    assert compared(needed * 4).told_apart


def test_a_thousand_resamples_of_many_methods_take_seconds():
    """1,000 resamples of 64 subsets, 100 queries; a twentieth of 20 methods, with much room for a busy machine."""
    source, counts = np.random.default_rng(0), draw_resamples(64, seed=0)
    a, b = source.normal(size=(2, 64, 100))
    start = time.process_time()
    Correlations.measure(a, b, counts)
    assert time.process_time() - start < 2
