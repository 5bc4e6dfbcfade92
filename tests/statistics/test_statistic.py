import numpy as np
import pytest
from scipy.stats import beta

from whence.errors import ConfigError, DataError
from whence.statistics.ranks import top_columns
from whence.statistics.statistic import jackknife_interval, mean_of, share


def test_of_a_mean_the_jackknife_is_the_classical_interval():
    values = np.random.default_rng(0).normal(3, 2, 25)
    found = jackknife_interval(values.mean(), (values.sum() - values) / 24)
    reach = 2.0639 * values.std(ddof=1) / 5  # t of 24 degrees of freedom
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=1e-4)


@pytest.mark.parametrize(
    ("without", "message"), [([1.0], "at least 2 queries"), ([1.0, np.nan, 2.0], "undefined without|is undefined")]
)
def test_what_has_no_jackknife(without, message):
    with pytest.raises(DataError, match=message):
        jackknife_interval(1.0, np.array(without))


def test_units_of_a_number():
    found = mean_of(np.array([1.0, 3.0]), chance=0.5).times(10)
    assert (found.value, found.chance, found.interval.low, found.interval.high) == (20, 5, 10, 30)
    with pytest.raises(DataError, match="no query was measured"):
        mean_of(np.array([]), 0.0)


def test_top_against_sorting_one_by_one():
    scores = np.random.default_rng(1).integers(0, 5, (6, 9)).astype(float)
    for row, found in zip(scores, top_columns(scores, 4), strict=True):
        assert found.tolist() == sorted(range(9), key=lambda n: (-row[n], n))[:4]


@pytest.mark.parametrize(
    ("scores", "top", "error"),
    [
        (np.ones((2, 3)), 4, ConfigError),
        (np.ones((2, 3)), 0, ConfigError),
        (np.full((2, 3), np.nan), 1, DataError),
        (np.ones((0, 3)), 1, DataError),
        (np.ones(3), 1, DataError),
    ],
)
def test_no_top(scores, top, error):
    with pytest.raises(error):
        top_columns(scores, top)


@pytest.mark.parametrize(("wins", "count"), [(0, 20), (1, 20), (18, 20), (20, 20), (5, 10)])
def test_the_exact_interval_of_a_share(wins, count):
    found = share(np.arange(count) < wins)
    low = beta.ppf(0.025, wins, count - wins + 1) if wins else 0.0
    high = beta.ppf(0.975, wins + 1, count - wins) if wins < count else 1.0
    assert found.value == wins / count
    assert (found.interval.low, found.interval.high) == (pytest.approx(low), pytest.approx(high))
