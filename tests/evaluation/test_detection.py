"""Recall and area of units above placebos, against loops over all pairs."""

import numpy as np
import pytest

from whence.errors import DataError
from whence.evaluation.ground_truth import detection


@pytest.mark.parametrize("top", [1, 3, 10, 99])
@pytest.mark.parametrize("grid", [None, 3])
def test_against_loops(top, grid):
    source = np.random.default_rng(0)
    scores = source.normal(size=(30, 12)) if grid is None else source.integers(0, grid, (30, 12)).astype(float)
    above = source.random((30, 12)) < source.random((30, 1)) * 0.6
    found, k = detection(scores, above, top), min(top, 12)
    chances = []
    for q in range(30):
        yes, no = scores[q][above[q]], scores[q][~above[q]]
        if not len(yes) or not len(no):
            assert np.isnan([found.recalls[q], found.areas[q]]).all()
            continue
        wins = [(a > b) + (a == b) / 2 for a in yes for b in no]
        assert found.areas[q] == pytest.approx(np.mean(wins))
        first = sorted(range(12), key=lambda u, row=scores[q]: (-row[u], u))[:k]
        assert found.recalls[q] == pytest.approx(sum(above[q, u] for u in first) / min(k, len(yes)))
        chances.append(k * len(yes) / 12 / min(k, len(yes)))
    assert found.chance == pytest.approx(np.mean(chances))


def test_a_perfect_ranking_and_its_reverse():
    above = np.zeros((2, 30), bool)
    above[0, [3, 7]] = above[1, 5:20] = True
    best, worst = detection(above.astype(float), above), detection(-above.astype(float), above)
    assert best.recalls.tolist() == best.areas.tolist() == [1, 1]
    assert worst.recalls.tolist() == worst.areas.tolist() == [0, 0]


def test_random_rankings_are_at_chance():
    source = np.random.default_rng(1)
    above = source.random((2000, 25)) < 0.3
    found = detection(source.normal(size=above.shape), above, 5)
    assert np.nanmean(found.recalls) == pytest.approx(found.chance, abs=0.02)
    assert np.nanmean(found.areas) == pytest.approx(0.5, abs=0.01)


def test_no_unit_above_placebos_is_no_number():
    found = detection(np.ones((2, 4)), np.zeros((2, 4), bool))
    assert np.isnan([*found.recalls, *found.areas, found.chance]).all()


@pytest.mark.parametrize(
    ("scores", "above"), [((2, 4), (2, 5)), ((2, 4), (1, 4)), ((0, 4), (0, 4)), ((2, 0), (2, 0)), ((4,), (4,))]
)
def test_shapes_that_do_not_fit(scores, above):
    with pytest.raises(DataError, match="Scores"):
        detection(np.zeros(scores), np.zeros(above, bool))


def test_a_score_that_is_no_number():
    with pytest.raises(DataError, match="none of them NaN"):
        detection(np.array([[1.0, np.nan]]), np.array([[True, False]]))
