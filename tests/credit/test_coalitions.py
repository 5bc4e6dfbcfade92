import numpy as np
import pytest

from whence.credit.coalitions import add_one_in, banzhaf_coalitions, every, leave_one_out, proper, shapley_coalitions
from whence.errors import ConfigError

DRAWN = {"shapley": shapley_coalitions, "banzhaf_coalitions": banzhaf_coalitions}
drawn = pytest.mark.parametrize("design", DRAWN.values(), ids=DRAWN)


def distinct(rows: np.ndarray) -> int:
    return len(np.unique(rows, axis=0))


@pytest.mark.parametrize("players", [0, 1, 2, 5])
def test_every_coalition_once(players):
    rows = every(players)
    assert rows.shape == (2**players, players)
    assert rows.dtype == bool
    assert players == 0 or distinct(rows) == 2**players


@pytest.mark.parametrize("players", [2, 3, 6])
def test_proper_coalitions_are_all_but_two_in_pairs(players):
    rows = proper(players)
    assert distinct(rows) == len(rows) == 2**players - 2
    assert rows.any(1).all()
    assert not rows.all(1).any()
    assert (rows[1::2] == ~rows[::2]).all()


@drawn
def test_drawn_coalitions_come_with_their_complements(design):
    rows = design(9, 101, seed=4)
    assert rows.shape == (101, 9)
    assert rows.dtype == bool
    assert (rows[1::2] == ~rows[:-1:2]).all()
    assert rows.any(1).all()
    assert not rows.all(1).any()


@drawn
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_a_prefix_of_a_longer_design_is_the_shorter_one(design, count):
    np.testing.assert_array_equal(design(20, 300, seed=1)[:count], design(20, count, seed=1))


@drawn
def test_designs_are_functions_of_their_seed(design):
    assert (design(20, 50, seed=1) == design(20, 50, seed=1)).all()
    assert (design(20, 50, seed=1) != design(20, 50, seed=2)).any()


@drawn
@pytest.mark.parametrize(("players", "count"), [(2, 2), (2, 1000), (4, 14), (4, 15), (4, 10**12)])
def test_where_there_are_no_more_all_are_returned_once(design, players, count):
    rows = design(players, count, seed=3)
    assert distinct(rows) == len(rows) == 2**players - 2


@drawn
def test_one_fewer_than_all_are_drawn(design):
    assert design(4, 13, seed=3).shape == (13, 4)


@drawn
def test_many_players_can_be_drawn(design):
    rows = design(258, 60, seed=0)
    assert rows.shape == (60, 258)
    assert 0.4 < rows.mean() < 0.6


def test_sizes_have_the_odds_of_the_shapley_kernel():
    players, count = 6, 60
    rows = np.concatenate([shapley_coalitions(players, count, seed) for seed in range(1000)])
    sizes = np.arange(1, players)
    odds = 1 / (sizes * (players - sizes))
    found = np.bincount(rows.sum(1), minlength=players)[1:] / len(rows)
    # 30,000 pairs: three standard errors are below .01.
    np.testing.assert_allclose(found, odds / odds.sum(), atol=0.01)


def test_sets_of_one_size_are_alike_likely():
    rows = np.concatenate([shapley_coalitions(5, 28, seed) for seed in range(1000)])
    pairs = rows[rows.sum(1) == 2]
    codes = np.bincount(pairs @ 2 ** np.arange(5), minlength=32)
    found = codes[codes > 0] / len(pairs)
    assert len(found) == 10
    np.testing.assert_allclose(found, 0.1, atol=0.02)


def test_halves_are_uniform_over_proper_coalitions():
    rows = np.concatenate([banzhaf_coalitions(4, 12, seed) for seed in range(2000)])
    found = np.bincount(rows @ 2 ** np.arange(4), minlength=16)[1:-1] / len(rows)
    np.testing.assert_allclose(found, 1 / 14, atol=0.01)


def test_one_for_each_player():
    np.testing.assert_array_equal(leave_one_out(3), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(add_one_in(3), np.eye(3))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda: shapley_coalitions(1, 10, 0), "at least 2 players, given 1"),
        (lambda: banzhaf_coalitions(0, 10, 0), "at least 2 players, given 0"),
        (lambda: shapley_coalitions(5, 0, 0), "asked for 0"),
        (lambda: leave_one_out(1), "at least 2 players"),
        (lambda: add_one_in(1), "at least 2 players"),
        (lambda: proper(1), "at least 2 players"),
        (lambda: every(21), "given 21; draw some"),
        (lambda: shapley_coalitions(25, 2**25, 0), "given 25; draw some"),
        (lambda: every(-1), "given -1"),
    ],
)
def test_what_cannot_be_drawn_says_so(asked, told):
    with pytest.raises(ConfigError, match=told):
        asked()
