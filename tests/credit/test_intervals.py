"""Whether intervals hold what they say: the exact shares of known games, over seeds and with noisy values."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from whence.credit.estimators import ADD_ONE_IN, BANZHAF, LEAVE_ONE_OUT, SHAPLEY, owen
from whence.credit.game import Game
from whence.credit.study_credit import replicates
from whence.errors import DataError

ALL = 10**6
SEEDS = range(10)
COSTS = np.array([1.0, 1.0, 2.5, 4.0, 4.5, 7.0, 7.0, 9.0, 12.0, 20.0])
VOTES = np.array([5, 4, 4, 3, 2, 2, 1, 1, 1, 1])


def moebius(players, seed, terms=40):
    rng = np.random.default_rng(seed)
    sets = rng.random((terms, players)) < rng.uniform(0.1, 0.7, (terms, 1))
    dividends = rng.standard_normal(terms)
    return lambda inside: dividends[~(sets & ~inside).any(1)].sum()


GAMES = {
    "glove": lambda inside: float(min(inside[:4].sum(), inside[4:].sum())),
    "airport": lambda inside: float((inside * COSTS).max()),
    "voting": lambda inside: float(inside @ VOTES >= 13),
    "Möbius": moebius(10, seed=1),
}
DRAWN = {
    "shapley": SHAPLEY,
    "banzhaf": BANZHAF,
    "owen": owen(10, "aaaaaabbcd"),
}
FIXED = {
    "leave-one-out": LEAVE_ONE_OUT,
    "add-one-in": ADD_ONE_IN,
    "shapley": SHAPLEY,
    "banzhaf": BANZHAF,
    "owen": owen(5, "aabbc"),
}
drawn = pytest.mark.parametrize("estimator", DRAWN.values(), ids=DRAWN)
fixed = pytest.mark.parametrize("estimator", FIXED.values(), ids=FIXED)


def play(estimator, function, players=10, count=100, seed=0, repeats=1):
    rows = estimator.coalitions(players, count, seed)
    rows = np.concatenate([rows] * repeats)
    return Game.of_function([f"p{u}" for u in range(players)], rows, function)


def noisy(game, noise, seed):
    return replace(game, values=game.values + noise * np.random.default_rng(seed).standard_normal(game.values.shape))


def covered(found, wanted):
    low, high = np.quantile(found[:, 0], [0.025, 0.975], axis=0)
    return ((low - 1e-6 <= wanted) & (wanted <= high + 1e-6)).mean()


@pytest.mark.parametrize(
    ("name", "game"),
    [
        # Owen values take ten times as long: one of their games is enough between slow runs.
        pytest.param(name, game, marks=pytest.mark.slow if name == "owen" and game != "airport" else ())
        for game in GAMES
        for name in DRAWN
    ],
)
def test_drawn_games_are_inside_nine_times_in_ten(name, game):
    """Of players and seeds together."""
    estimator, function = DRAWN[name], GAMES[game]
    exact = estimator.shares(play(estimator, function, count=ALL))[0]
    games = [play(estimator, function, count=150, seed=seed) for seed in SEEDS]
    found = [covered(replicates(estimator, game, seed), exact) for seed, game in enumerate(games)]
    assert np.mean(found) >= 0.9


@drawn
def test_noise_of_models_is_inside_too(estimator):
    function = GAMES["airport"]
    exact = estimator.shares(play(estimator, function, count=ALL))[0]
    games = [noisy(play(estimator, function, seed=seed), 3, seed) for seed in SEEDS]
    found = [replicates(estimator, game, seed) for seed, game in enumerate(games)]
    assert np.mean([covered(one, exact) for one in found]) >= 0.9
    assert found[0].std(0).mean() > replicates(estimator, play(estimator, function), 0).std(0).mean()


@fixed
@pytest.mark.parametrize("repeats", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_repeats_show_the_noise_of_models(estimator, repeats):
    function = moebius(5, seed=2)
    exact = estimator.shares(play(estimator, function, 5, ALL))[0]
    games = [noisy(play(estimator, function, 5, ALL, repeats=repeats), 0.3, seed) for seed in range(40)]
    found = [replicates(estimator, game, seed) for seed, game in enumerate(games)]
    assert np.mean([covered(one, exact) for one in found]) >= 0.88
    errors = np.stack([estimator.shares(game)[0] for game in games]).std(0)
    np.testing.assert_allclose(np.mean([one.std(0)[0] for one in found], axis=0).mean(), errors.mean(), rtol=0.2)


@fixed
def test_without_repeats_nothing_is_known(estimator):
    assert replicates(estimator, play(estimator, moebius(5, seed=2), 5, ALL), 0) is None


@fixed
def test_one_coalition_without_a_repeat_is_too_few(estimator):
    game = play(estimator, moebius(5, seed=2), 5, ALL, repeats=2)
    assert replicates(estimator, game.select(np.arange(1, len(game.coalitions))), 0) is None


def test_repeats_of_everybody_move_all_shares_together():
    game = noisy(play(LEAVE_ONE_OUT, moebius(5, seed=2), 5, repeats=2), 0.3, 0)
    rows = np.concatenate([game.coalitions, np.ones((1, 5), bool)])
    more = replace(game, coalitions=rows, values=np.concatenate([game.values, game.all[None]]))
    known, measured = (replicates(LEAVE_ONE_OUT, one, 0)[:, 0] for one in (game, more))
    assert abs(np.corrcoef(known.T)[0, 1]) < 0.1
    assert np.corrcoef(measured.T)[0, 1] > 0.5


@drawn
def test_additive_games_have_no_width(estimator):
    game = play(estimator, lambda inside: inside @ COSTS)
    found = replicates(estimator, game, 0)
    np.testing.assert_allclose(found, np.broadcast_to(COSTS, found.shape), atol=1e-5)


@pytest.mark.parametrize("estimator", [SHAPLEY, DRAWN["owen"]], ids=lambda one: one.name)
def test_replicates_of_efficient_estimators_add_up(estimator):
    game = play(estimator, GAMES["Möbius"])
    np.testing.assert_allclose(replicates(estimator, game, 0).sum(2), (game.all - game.none)[0], atol=1e-4)


def is_determined(estimator, game):
    with contextlib.suppress(DataError):
        return np.isfinite(estimator.shares(game)).all()
    return False


@drawn
def test_no_width_is_known_where_no_pair_can_be_spared(estimator):
    game = play(estimator, GAMES["Möbius"], seed=1)
    fewest = next(n for n in range(18, 100, 2) if is_determined(estimator, game.select(np.arange(n))))
    assert replicates(estimator, game.select(np.arange(fewest)), 0) is None


@pytest.mark.parametrize("estimator", [SHAPLEY, BANZHAF], ids=lambda one: one.name)
def test_they_spread_like_the_jackknife(estimator):
    game = play(estimator, GAMES["Möbius"])
    pairs = np.arange(100) // 2
    left_out = np.stack([estimator.shares(game.select(pairs != k)) for k in range(50)])
    spread = np.sqrt(49 / 50 * ((left_out - estimator.shares(game)) ** 2).sum(0))
    found = replicates(estimator, game, 0, count=4000)
    np.testing.assert_allclose(found.std(0), spread, rtol=0.1)
    np.testing.assert_allclose(found.mean(0), estimator.shares(game), atol=0.1)


@pytest.mark.parametrize("estimator", [SHAPLEY, LEAVE_ONE_OUT], ids=lambda one: one.name)
def test_behaviours_vary_together(estimator):
    game = noisy(play(estimator, GAMES["Möbius"], repeats=2 if estimator is LEAVE_ONE_OUT else 1), 0.1, 0)
    twice = Game(
        game.players, ("one", "minus"), game.coalitions, game.values * [1, -1], game.none * [1, -1], game.all * [1, -1]
    )
    found = replicates(estimator, twice, 0, count=50)
    assert found.shape == (50, 2, 10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], -found[:, 1], atol=1e-5)
    np.testing.assert_array_equal(found, replicates(estimator, twice, 0, count=50))
    assert (found != replicates(estimator, twice, 1, count=50)).any()


def test_a_count_need_not_fill_chunks():
    game = noisy(play(LEAVE_ONE_OUT, GAMES["glove"], repeats=2), 0.1, 0)
    assert [len(replicates(LEAVE_ONE_OUT, game, 0, count)) for count in (1, 100, 250)] == [1, 100, 250]
