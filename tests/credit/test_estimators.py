"""Shares of games whose answers are known, in closed form or by the definition summed out slowly."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.credit.coalitions import banzhaf_coalitions, every, leave_one_out, proper, shapley_coalitions
from whence.credit.estimators import ADD_ONE_IN, BANZHAF, ESTIMATORS, LEAVE_ONE_OUT, OWEN, SHAPLEY
from whence.credit.game import Game
from whence.errors import ConfigError, DataError

ALL = 10**6
by_name = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
efficient_ones = pytest.mark.parametrize("estimator", [SHAPLEY, OWEN], ids=lambda one: one.name)


def play(estimator, function, players, count=ALL, seed=0):
    return Game.of_function([f"p{u}" for u in range(players)], estimator.coalitions(players, count, seed), function)


def moebius(players, seed, terms=40):
    """A game v(S) = Σ_{T ⊆ S} m_T with random m_T, and its T and m_T."""
    rng = np.random.default_rng(seed)
    sets = rng.random((terms, players)) < rng.uniform(0.1, 0.7, (terms, 1))
    sets[~sets.any(1), 0] = True
    dividends = rng.standard_normal(terms)
    return (lambda inside: dividends[~(sets & ~inside).any(1)].sum()), sets, dividends


def by_definition(function, players, odds):
    """Σ_S odds(|S|) (v(S + u) - v(S)) over all S without u."""
    rows = every(players)
    table = np.array([function(row) for row in rows], float)
    found = []
    for u in range(players):
        without = np.flatnonzero(~rows[:, u])
        weight = np.array([odds(size) for size in rows[without].sum(1)])
        found.append((weight * (table[without + 2**u] - table[without])).sum())
    return np.array(found)


def shapley_by_definition(function, n):
    return by_definition(function, n, lambda s: math.factorial(s) * math.factorial(n - 1 - s) / math.factorial(n))


def shapley_by_orders(function, players):
    found = np.zeros(players)
    for order in itertools.permutations(range(players)):
        inside = np.zeros(players, bool)
        for u in order:
            before = function(inside)
            inside[u] = True
            found[u] += function(inside) - before
    return found / math.factorial(players)


def glove(players, left):
    return lambda inside: float(min(inside[:left].sum(), inside[left:].sum()))


def airport(costs):
    return lambda inside: float((inside * costs).max())


def airport_shares(costs):
    steps = np.diff(costs, prepend=0) / np.arange(len(costs), 0, -1)
    return np.cumsum(steps)


def voting(weights, quota):
    return lambda inside: float(inside @ np.array(weights) >= quota)


COSTS = np.array([1.0, 1.0, 2.5, 4.0, 4.5, 7.0, 7.0, 9.0, 12.0, 20.0, 21.0, 30.0])
CLOSED = {
    "glove, 1 against 2": (glove(3, 1), np.array([4, 1, 1]) / 6),
    "airport of 12": (airport(COSTS), airport_shares(COSTS)),
    "majority of 11": (voting([1] * 11, 6), np.full(11, 1 / 11)),
    "unanimity of 4 of 12": (lambda inside: float(inside[2:6].all()), np.repeat([0, 1 / 4, 0], [2, 4, 6])),
    "apex of 5": (voting([3, 1, 1, 1, 1], 4), np.array([12, 2, 2, 2, 2]) / 20),
    "two players": (lambda inside: [2.0, 3.0, 5.0, 11.0][int(inside @ [1, 2])], np.array([3.5, 5.5])),
}


@pytest.mark.parametrize(("function", "shares"), CLOSED.values(), ids=CLOSED)
def test_shapley_matches_closed_forms(function, shares):
    game = play(SHAPLEY, function, len(shares))
    np.testing.assert_allclose(SHAPLEY.shares(game), [shares], atol=1e-8)


OTHERS = {
    "glove, 5 against 7": (glove(12, 5), 12),
    "voting": (voting([5, 4, 4, 3, 2, 2, 1, 1, 1, 1], 13), 10),
    "vetoes": (voting([7] * 5 + [1] * 7, 37), 12),
    "Möbius of 12": (moebius(12, seed=1)[0], 12),
    "Möbius of 5": (moebius(5, seed=2)[0], 5),
}
by_game = pytest.mark.parametrize(("function", "players"), OTHERS.values(), ids=OTHERS)


@by_game
def test_shapley_matches_its_definition(function, players):
    found = SHAPLEY.shares(play(SHAPLEY, function, players))[0]
    np.testing.assert_allclose(found, shapley_by_definition(function, players), atol=1e-8)


@by_game
def test_banzhaf_matches_its_definition(function, players):
    found = BANZHAF.shares(play(BANZHAF, function, players))[0]
    wanted = by_definition(function, players, lambda size: 0.5 ** (players - 1))
    np.testing.assert_allclose(found, wanted, atol=1e-8)


def test_the_definition_is_the_mean_over_orders():
    function = moebius(6, seed=3)[0]
    np.testing.assert_allclose(shapley_by_definition(function, 6), shapley_by_orders(function, 6), atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "share"),
    [
        (SHAPLEY, lambda size: 1 / size),
        (OWEN, lambda size: 1 / size),
        (BANZHAF, lambda size: 0.5 ** (size - 1)),
        (LEAVE_ONE_OUT, lambda size: 1.0),
        (ADD_ONE_IN, lambda size: float(size == 1)),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
@pytest.mark.parametrize("players", [3, 8])
def test_each_dividend_is_shared_as_the_estimator_has_it(estimator, share, players):
    function, sets, dividends = moebius(players, seed=players)
    wanted = np.array([share(size) for size in sets.sum(1)]) * dividends @ sets
    np.testing.assert_allclose(estimator.shares(play(estimator, function, players))[0], wanted, atol=1e-8)


@by_name
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_additive_games_are_recovered_from_any_draw(estimator, data):
    players = data.draw(st.integers(2, 9))
    worth = np.array(data.draw(st.lists(st.floats(-100, 100), min_size=players, max_size=players)))
    alone = data.draw(st.floats(-100, 100))
    game = play(estimator, lambda inside: alone + inside @ worth, players, 10 * players, data.draw(st.integers(0, 99)))
    np.testing.assert_allclose(estimator.shares(game)[0], worth, atol=1e-8)


@efficient_ones
@pytest.mark.parametrize(("players", "count"), [(2, 10), (6, 40), (12, 60), (40, 400)])
def test_shares_add_up(estimator, players, count):
    game = play(estimator, lambda inside: np.sin(inside @ np.arange(players)) * 1e3, players, count)
    total = game.all - game.none
    np.testing.assert_allclose(estimator.shares(game).sum(1), total, atol=1e-9)
    weights = np.repeat(np.random.default_rng(0).random(len(game.coalitions) // 2), 2)
    np.testing.assert_allclose(estimator.shares(game, weights).sum(1), total, atol=1e-9)


@by_name
def test_alike_players_have_alike_shares_and_idle_ones_none(estimator):
    value = moebius(3, seed=5)[0]
    game = play(estimator, lambda inside: value(np.array([inside[0], inside[1] or inside[2], inside[3]])), 6)
    shares = estimator.shares(game)[0]
    assert abs(shares[1] - shares[2]) < 1e-9
    np.testing.assert_allclose(shares[4:], 0, atol=1e-9)


@by_name
@pytest.mark.parametrize("count", [80, ALL])
def test_shares_are_linear_in_values(estimator, count):
    one, other = moebius(8, seed=6)[0], moebius(8, seed=7)[0]
    games = [play(estimator, v, 8, count) for v in (one, other, lambda inside: 3 * one(inside) - other(inside))]
    first, second, both = (estimator.shares(game) for game in games)
    np.testing.assert_allclose(both, 3 * first - second, atol=1e-9)


@by_name
def test_behaviours_are_shared_apart(estimator):
    one, other = moebius(6, seed=6)[0], moebius(6, seed=7)[0]
    together = play(estimator, lambda inside: np.array([one(inside), other(inside)]), 6, 40)
    for b, function in enumerate((one, other)):
        alone = estimator.shares(play(estimator, function, 6, 40))[0]
        np.testing.assert_allclose(estimator.shares(together)[b], alone, atol=1e-10)


@by_name
def test_players_may_be_listed_in_any_order(estimator):
    function, order = moebius(6, seed=8)[0], np.array([3, 0, 5, 1, 4, 2])
    plain = estimator.shares(play(estimator, function, 6))[0]
    moved = estimator.shares(play(estimator, lambda inside: function(inside[order.argsort()]), 6))[0]
    np.testing.assert_allclose(moved, plain[order], atol=1e-9)


@by_name
def test_weights_are_multiplicities(estimator):
    game = play(estimator, moebius(9, seed=9)[0], 9, 60)
    pairs = np.random.default_rng(1).permutation(len(game.coalitions) // 2).repeat(2) % 3 + 1
    times = np.append(pairs, [1] * (len(game.coalitions) % 2))
    repeated = game.select(np.concatenate([np.flatnonzero(times > n) for n in range(3)]))
    np.testing.assert_allclose(estimator.shares(game, times), estimator.shares(repeated), atol=1e-9)


@pytest.mark.parametrize("estimator", [SHAPLEY, BANZHAF], ids=lambda one: one.name)
def test_without_weight_is_not_there(estimator):
    game = play(estimator, moebius(9, seed=9)[0], 9, 60)
    kept = np.arange(60) >= 10
    np.testing.assert_allclose(estimator.shares(game, kept), estimator.shares(game.select(kept)), atol=1e-9)


@by_name
def test_repeats_are_averaged_however_many_each_has(estimator):
    game = play(estimator, moebius(5, seed=10)[0], 5)
    times = np.arange(len(game.coalitions)) % 3 + 1
    again = game.select(np.repeat(np.arange(len(times)), times))
    noise = np.concatenate([np.linspace(-1, 1, n) if n > 1 else [0.0] for n in times])[:, None]
    noisy = Game(again.players, again.behaviours, again.coalitions, again.values + noise, again.none, again.all)
    np.testing.assert_allclose(estimator.shares(noisy), estimator.shares(game), atol=1e-9)


@pytest.mark.parametrize("estimator", [SHAPLEY, BANZHAF], ids=lambda one: one.name)
def test_nobody_and_everybody_among_the_coalitions_change_nothing(estimator):
    function = moebius(5, seed=11)[0]
    listed = Game.of_function(tuple("abcde"), every(5), function)
    np.testing.assert_allclose(estimator.shares(listed), estimator.shares(play(estimator, function, 5)), atol=1e-9)


def test_one_estimators_coalitions_may_hold_anothers():
    function = moebius(5, seed=12)[0]
    everything = Game.of_function(tuple("abcde"), proper(5), function)
    for estimator in ESTIMATORS.values():
        wanted = estimator.shares(play(estimator, function, 5))
        np.testing.assert_allclose(estimator.shares(everything), wanted, atol=1e-9)


def test_sampling_comes_nearer_with_more():
    function = moebius(12, seed=13)[0]
    exact = shapley_by_definition(function, 12)
    errors = [np.abs(SHAPLEY.shares(play(SHAPLEY, function, 12, count))[0] - exact).max() for count in (60, 2000)]
    assert errors[1] < errors[0] / 2


GAME = Game.of_function(tuple("abcdef"), shapley_coalitions(6, 8, seed=0), lambda inside: float(inside.sum()))


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        (lambda: SHAPLEY.shares(GAME), DataError, "8 coalitions don't determine the shares of 6 contributors"),
        (lambda: BANZHAF.shares(GAME), DataError, "don't determine the shares"),
        (lambda: SHAPLEY.shares(GAME.select(np.array([], int))), DataError, "No coalition of some"),
        (lambda: SHAPLEY.shares(GAME, np.zeros(8)), DataError, "No coalition of some"),
        (lambda: SHAPLEY.shares(GAME, -np.ones(8)), ConfigError, "not below 0"),
        (lambda: SHAPLEY.shares(GAME, np.full(8, np.nan)), ConfigError, "finite numbers"),
        (lambda: BANZHAF.shares(GAME, np.ones(7)), ConfigError, "Weights of 8 coalitions .* given 7"),
        (lambda: LEAVE_ONE_OUT.shares(GAME.select(np.arange(2))), DataError, "The model without . was not measured"),
        (lambda: ADD_ONE_IN.shares(GAME.select(np.arange(2))), DataError, "The model of only . was not measured"),
        (lambda: OWEN.coalitions(6, 9, 0), ConfigError, "need 10 coalitions or more, given 9"),
    ],
)
def test_what_cannot_be_computed_says_so(asked, error, told):
    with pytest.raises(error, match=told):
        asked()


def test_names_and_designs():
    assert list(ESTIMATORS) == ["shapley", "owen", "banzhaf", "leave-one-out", "add-one-in"]
    assert all(name == one.name and one.title for name, one in ESTIMATORS.items())
    assert [one.name for one in ESTIMATORS.values() if one.efficient] == ["shapley", "owen"]
    np.testing.assert_array_equal(BANZHAF.coalitions(9, 30, 2), banzhaf_coalitions(9, 30, 2))
    np.testing.assert_array_equal(LEAVE_ONE_OUT.coalitions(4, 30, 2), leave_one_out(4))


def test_what_depends_on_the_size_alone_does_not_drown_shares():
    """An additive game and any cubic in |S| is solved exactly from drawn coalitions; the cubic is shared out evenly."""
    worth = np.arange(12.0)

    def value(inside):
        size = inside.sum() / 12
        return inside @ worth + 1000 * (size - 2 * size**2 + 3 * size**3)

    game = Game.of_function([str(u) for u in range(12)], SHAPLEY.coalitions(12, 60, 0), value)
    np.testing.assert_allclose(SHAPLEY.shares(game)[0], worth + 2000 / 12, atol=1e-8)
