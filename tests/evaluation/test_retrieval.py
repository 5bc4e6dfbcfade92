import numpy as np
import pytest

from whence.errors import ConfigError, DataError
from whence.evaluation.ranking.retrieval import precision, shared_units

CLASSES = np.array(["a", "b"] * 10)
RIGHT = np.array([["a"], ["b"], ["a"]]) == CLASSES


@pytest.mark.parametrize(("sign", "value"), [(1, 1.0), (-1, 0.0)])
def test_perfect_and_reversed(sign, value):
    found = precision(sign * RIGHT.astype(float), RIGHT, 10)
    assert (found.value, found.chance, found.interval.low, found.interval.high) == (value, 0.5, value, value)


def test_of_one_class_everything_is_right():
    found = precision(np.random.default_rng(0).random((3, 20)), np.ones((3, 20), bool))
    assert (found.value, found.chance) == (1, 1)


def test_random_scores_are_at_chance_and_inside_the_interval():
    right = np.random.default_rng(0).random((500, 20)) < 0.3
    found = precision(np.random.default_rng(1).random((500, 20)), right)
    assert found.chance == pytest.approx(right.mean())
    assert found.interval.low < found.chance < found.interval.high


def test_a_training_image_is_not_counted_for_itself():
    """Of 20 images ten are of each class; the query is one of its class, so nine of the other nineteen are right."""
    scores = np.zeros((3, 20))
    itself = np.array([0, 1, -1])
    scores[[0, 1], [0, 1]] = 9
    right = RIGHT.copy()
    found = precision(scores + 0.1 * right, right, 10, itself=itself)
    assert found.value == pytest.approx((9 + 9 + 10) / 30)
    assert found.chance == pytest.approx((9 / 19 + 9 / 19 + 10 / 20) / 3)
    assert (right == RIGHT).all()
    assert scores[0, 0] == 9


def test_one_example():
    assert precision(np.ones((1, 1)), np.ones((1, 1), bool), 1).value == 1
    with pytest.raises(ConfigError, match="from 1 to 0"):
        precision(np.ones((1, 1)), np.ones((1, 1), bool), 1, itself=np.array([0]))


def test_shapes():
    with pytest.raises(DataError, match="same shape"):
        precision(np.ones((2, 3)), np.ones((3, 2), bool), 1)


def test_units_in_common():
    queries, examples = [("anna",), ("ben", "carl"), ("dora",)], [("anna",), ("carl", "anna"), ("ben",)]
    expected = [[bool(set(q) & set(n)) for n in examples] for q in queries]
    assert shared_units(queries, examples).tolist() == expected
    with pytest.raises(DataError, match="'dora'.*'anna', 'carl', 'ben'.*--unit-column"):
        shared_units([("dora",)], examples)
