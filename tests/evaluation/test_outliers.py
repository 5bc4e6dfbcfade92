import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from whence.errors import DataError
from whence.evaluation.ranking.retrieval import outliers

FIRST = np.arange(20) < 4


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_against_scikit_learn(levels):
    source = np.random.default_rng(levels)
    outlier = source.random(80) < 0.2
    values = source.integers(0, levels, 80) + 0.2 * levels * outlier
    found = outliers(values, outlier)
    assert found.area.value == pytest.approx(roc_auc_score(outlier, values))
    assert found.precision.value == pytest.approx(average_precision_score(outlier, values))
    for one in (found.area, found.recall, found.precision):
        assert one.interval.low <= one.value <= one.interval.high


def test_perfect_and_reversed():
    best, worst = outliers(FIRST.astype(float), FIRST), outliers(-np.arange(20.0)[::-1], FIRST)
    assert [best.area.value, best.recall.value, best.precision.value] == [1, 1, 1]
    assert (best.area.interval.low, best.area.interval.high) == (1, 1)
    assert [worst.area.value, worst.recall.value] == [0, 0]


def test_equal_values_are_at_chance():
    found = outliers(np.ones(20), FIRST)
    assert (found.area.value, found.recall.value) == (0.5, 0.2)
    assert (found.area.chance, found.recall.chance) == (0.5, 0.2)


@pytest.mark.parametrize(("count", "wanted"), [(5, 2), (6, 1), (6, 5)])
def test_chance_is_the_mean_over_all_orders(count, wanted):
    outlier = np.arange(count) < wanted
    places = [np.isin(np.arange(count), some) for some in itertools.combinations(range(count), wanted)]
    found = [outliers(-np.arange(count, dtype=float), place) for place in places]
    chance = outliers(np.arange(count, dtype=float), outlier)
    for name in ("area", "recall", "precision"):
        mean = np.mean([getattr(one, name).value for one in found])
        assert mean == pytest.approx(getattr(chance, name).chance), name


def test_recall_shares_the_edge():
    """Two outliers: one on top, the other among three equal values, of which one fits into the top two."""
    values = np.array([9.0, 5.0, 5.0, 5.0, 1.0])
    assert outliers(values, np.array([True, True, False, False, False])).recall.value == pytest.approx((1 + 1 / 3) / 2)


def test_the_interval_covers_the_area():
    """Normal numbers, outliers higher by 1: the area is Φ(1/√2) = .760."""
    source, held = np.random.default_rng(0), 0
    for seed in range(40):
        outlier = np.arange(90) < 30
        found = outliers(source.normal(size=90) + outlier, outlier, seed=seed).area.interval
        held += found.low <= 0.760 <= found.high
    assert held / 40 >= 0.85


@pytest.mark.parametrize(
    ("values", "outlier", "message"),
    [
        (np.ones(3), np.zeros(3, bool), "0 of 3 examples are outliers"),
        (np.ones(3), np.ones(3, bool), "3 of 3 examples are outliers"),
        (np.ones(3), np.ones(2, bool), r"given \(3,\) and \(2,\)"),
        (np.array([1, np.nan]), np.array([True, False]), "none of them NaN"),
        (np.ones(1), np.ones(1, bool), "1 of 1 examples"),
    ],
)
def test_nothing_to_find(values, outlier, message):
    with pytest.raises(DataError, match=message):
        outliers(values, outlier)
