import numpy as np
import pytest
from scipy.stats import spearmanr

from whence.errors import DataError
from whence.evaluation.ranking.repeatability import chance_correlation, repeatability


def test_against_scipy_on_the_union():
    source = np.random.default_rng(0)
    a = source.normal(size=(5, 80)).round(1)
    b = a + source.normal(size=(5, 80)).round(1)
    found = repeatability(a, b, 20)
    for q in range(5):
        tops = [set(np.argsort(-one[q], kind="stable")[:20].tolist()) for one in (a, b)]
        union = sorted(tops[0] | tops[1])
        assert found.correlations[q] == pytest.approx(spearmanr(a[q, union], b[q, union]).statistic)
        assert found.overlaps[q] == len(tops[0] & tops[1]) / 20
    assert found.correlation.value == pytest.approx(found.correlations.mean())


def test_same_and_reversed_orders():
    scores = np.random.default_rng(0).normal(size=(4, 30))
    same, reversed_ = repeatability(scores, 7 * scores + 1, 10), repeatability(scores, -scores, 10)
    assert (same.correlation.value, same.overlap.value) == (1, 1)
    assert (reversed_.correlation.value, reversed_.overlap.value) == (-1, 0)


def test_random_orders_are_at_chance():
    source = np.random.default_rng(1)
    found = repeatability(source.normal(size=(400, 60)), source.normal(size=(400, 60)), 15)
    assert found.correlation.value == pytest.approx(found.correlation.chance, abs=0.04)
    assert found.correlation.chance < -0.3
    assert found.overlap.value == pytest.approx(0.25, abs=0.02)
    assert found.overlap.chance == 0.25


def test_fewer_examples_than_the_top():
    found = repeatability(np.arange(10.0)[None], np.arange(10.0)[None] ** 3)
    assert (found.correlation.value, found.overlap.value, found.overlap.chance) == (1, 1, 1)
    assert abs(chance_correlation(10, 10)) < 0.1


def test_a_query_without_an_order_is_left_out():
    scores = np.stack([np.arange(8.0), np.ones(8)])
    found = repeatability(scores, scores, 4)
    assert np.isnan(found.correlations[1])
    assert found.correlation.value == 1
    with pytest.raises(DataError, match="no order that could repeat"):
        repeatability(scores[1:], scores[1:], 4)


@pytest.mark.parametrize(("a", "b"), [((2, 5), (2, 6)), ((2, 1), (2, 1)), ((5,), (5,))])
def test_shapes(a, b):
    with pytest.raises(DataError, match="same queries and examples"):
        repeatability(np.zeros(a), np.zeros(b))
