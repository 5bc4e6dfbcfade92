import itertools

import numpy as np
import pytest

from whence.errors import DataError
from whence.evaluation.ranking.retrieval import tracing

ITSELF = np.arange(20)


def numbers(found) -> list[float]:
    return [found.first.value, found.in_top.value, found.reciprocal.value]


def test_perfect_and_reversed():
    assert numbers(tracing(np.eye(20), ITSELF)) == [1, 1, 1]
    assert numbers(tracing(-np.eye(20), ITSELF)) == pytest.approx([0, 0, 1 / 20])


def test_equal_scores_are_at_chance():
    found = tracing(np.ones((20, 20)), ITSELF)
    assert numbers(found) == pytest.approx([found.first.chance, found.in_top.chance, found.reciprocal.chance])
    assert found.first.chance == 1 / 20
    assert found.in_top.chance == 0.5
    assert found.reciprocal.chance == pytest.approx(sum(1 / k for k in range(1, 21)) / 20)


@pytest.mark.parametrize("row", list(itertools.product([0.0, 1.0], repeat=4)))
def test_ties_are_the_mean_over_orders(row):
    places = []
    for order in itertools.permutations(range(4)):
        ranked = sorted(order, key=lambda n: -row[n])
        places.append(1 + ranked.index(2))
    found = tracing(np.array([row]), np.array([2]))
    assert found.first.value == pytest.approx(np.mean([place == 1 for place in places]))
    assert found.in_top.value == pytest.approx(1)
    assert found.reciprocal.value == pytest.approx(np.mean([1 / place for place in places]))


def test_one_example_is_always_first():
    assert numbers(tracing(np.zeros((1, 1)), np.array([0]))) == [1, 1, 1]


@pytest.mark.parametrize("itself", [[0, -1], [0, 3], [0]])
def test_queries_that_are_no_examples(itself):
    with pytest.raises(DataError, match="must be one of the 3 examples"):
        tracing(np.zeros((2, 3)), np.array(itself))
