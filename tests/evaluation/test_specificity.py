import numpy as np
import pytest

from whence.errors import DataError
from whence.evaluation.ranking.specificity import specificity


def slow(scores: np.ndarray, top: int, kinds: list[str]) -> tuple[int, float]:
    """Different examples, and the share that recurs in half of the queries of a kind."""
    tops = [set(np.argsort(-row, kind="stable")[:top].tolist()) for row in scores]
    recurring = 0
    for kind in set(kinds):
        own = [found for found, of in zip(tops, kinds, strict=True) if of == kind]
        recurring += sum(2 * sum(n in found for found in own) >= len(own) for n in range(scores.shape[1]))
    return len(set.union(*tops)), recurring / scores.shape[1]


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("kinds", [["a"] * 7, ["a", "b", "a", "b", "b", "b", "a"]])
def test_against_a_slow_count(spread, kinds):
    source = np.random.default_rng(0)
    scores = spread * source.normal(size=40) + source.normal(size=(7, 40))
    found = specificity(scores, 6, kinds=kinds)
    assert (found.different.value, found.recurring.value) == slow(scores, 6, kinds)


def test_all_queries_alike():
    """The same order for every query: as many examples as the top has, and all of them recur."""
    found = specificity(np.tile(np.arange(50.0), (8, 1)), 10)
    assert (found.different.value, found.recurring.value) == (10, 0.2)
    assert (found.different.interval.low, found.different.interval.high) == (10, 10)
    assert (found.recurring.interval.low, found.recurring.interval.high) == (0.2, 0.2)


def test_one_example_recurs_and_is_all_there_is():
    found = specificity(np.ones((4, 1)), 1)
    assert (found.different.value, found.different.chance) == (1, 1)
    assert (found.recurring.value, found.recurring.chance) == (1, 1)


@pytest.mark.parametrize("queries", [4, 5])
def test_random_orders_are_at_chance(queries):
    source = np.random.default_rng(2)
    found = specificity(source.random((queries, 30)), 8)
    different, recurring = np.mean([slow(source.random((queries, 30)), 8, ["a"] * queries) for _ in range(400)], 0)
    assert different == pytest.approx(found.different.chance, abs=0.25)
    assert recurring == pytest.approx(found.recurring.chance, abs=0.012)


def test_the_interval_of_the_number_covers_it():
    """What other queries give: the bootstrap's percentiles lie below in every trial, the jackknife's rarely miss."""
    source = np.random.default_rng(3)
    common = source.gumbel(size=300)

    def draw() -> np.ndarray:
        return common + source.gumbel(size=(40, 300))

    expected = np.mean([len(np.unique(np.argsort(-draw(), 1)[:, :10])) for _ in range(200)])
    found = [specificity(draw(), 10).different for _ in range(40)]
    assert np.mean([one.interval.low <= expected <= one.interval.high for one in found]) >= 0.9
    assert np.mean([one.interval.high - one.interval.low for one in found]) < 0.35 * expected


def test_the_interval_ends_where_the_number_does():
    """With four queries of one example each there are from one to four."""
    found = specificity(np.array([[1.0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]), 1).different
    assert (found.value, found.interval.low, found.interval.high) == (3, 1, 4)


def test_one_query_is_too_few():
    with pytest.raises(DataError, match="at least 2"):
        specificity(np.arange(5.0)[None], 2)
