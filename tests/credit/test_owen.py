"""Owen values: against all orders that keep clusters together, and what splitting a contributor changes."""

import itertools

import numpy as np
import pytest

from whence.credit.coalitions import proper
from whence.credit.estimators import OWEN, SHAPLEY, owen
from whence.credit.game import Game
from whence.errors import ConfigError, DataError

ALL = 10**6
TABLE = np.random.default_rng(0).standard_normal(2**12)
LABELS = ["aabbbc", "abcdef", "aaaaaa", "abcabc", "aabbcc", "ab"]


def arbitrary(inside):
    return TABLE[inside @ 2 ** np.arange(len(inside))]


def play(clusters, function, count=ALL, seed=0):
    players = len(clusters)
    rows = owen(players, clusters).coalitions(players, count, seed)
    return Game.of_function([f"p{u}" for u in range(players)], rows, function)


def runs(labels):
    return sum(1 for _ in itertools.groupby(labels))


def by_orders(function, clusters):
    """The mean of what each adds to those before, over all orders in which clusters stay together."""
    found, orders = np.zeros(len(clusters)), 0
    for order in itertools.permutations(range(len(clusters))):
        if runs([clusters[u] for u in order]) == len(set(clusters)):
            inside, orders = np.zeros(len(clusters), bool), orders + 1
            for u in order:
                before = function(inside)
                inside[u] = True
                found[u] += function(inside) - before
    return found / orders


@pytest.mark.parametrize("clusters", LABELS)
def test_all_coalitions_give_the_mean_over_all_orders(clusters):
    shares = owen(len(clusters), clusters).shares(play(clusters, arbitrary))
    np.testing.assert_allclose(shares[0], by_orders(arbitrary, clusters), atol=1e-8)


@pytest.mark.parametrize("clusters", LABELS)
def test_only_what_is_needed_is_measured(clusters):
    rows = owen(len(clusters), clusters).coalitions(len(clusters), ALL, 0)
    together = np.array([[name == other for other in sorted(set(clusters))] for name in clusters]).astype(int)
    part, sizes = rows @ together, together.sum(0)
    assert (((part > 0) & (part < sizes)).sum(1) <= 1).all()
    assert (rows[1::2] == ~rows[::2]).all()
    every_one = proper(len(clusters))
    part = every_one @ together
    assert len(np.unique(rows, axis=0)) == len(rows) == (((part > 0) & (part < sizes)).sum(1) <= 1).sum()


@pytest.mark.parametrize("clusters", ["aabbbc", "aaaabbbbcccc", "abcdefghij", "aaaaaa"])
def test_drawn_coalitions_are_pairs_between_clusters_and_inside_each(clusters):
    players, names = len(clusters), np.array(list(clusters))
    rows = owen(players, clusters).coalitions(players, 54 if players > 6 else 2 * (players - 1), seed=3)
    rounds, left = divmod(len(rows) // 2, players - 1)
    between, inside = 0, dict.fromkeys(clusters, 0)
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        differ = set(names[one != other])
        if len(differ) == len(set(clusters)) > 1:
            assert (one == ~other).all()
            assert all(len(set(one[names == name])) == 1 for name in clusters)
            between += 1
        else:
            (name,) = differ
            assert 0 < one[names == name].sum() < (names == name).sum()
            inside[name] += 1
    assert 0 <= between - rounds * (len(set(clusters)) - 1) <= left
    assert all(0 <= inside[name] - rounds * (clusters.count(name) - 1) <= left for name in clusters)


def test_a_prefix_of_a_longer_design_is_the_shorter_one():
    one = owen(12, "aaaabbbbcccc")
    np.testing.assert_array_equal(one.coalitions(12, 88, 5)[:44], one.coalitions(12, 45, 5))


@pytest.mark.parametrize("count", [66, 110])
def test_drawn_coalitions_give_shares_that_add_up(count):
    game = play("aaaabbbbcccc", arbitrary, count)
    assert len(game.coalitions) == count
    shares = owen(12, "aaaabbbbcccc").shares(game)
    np.testing.assert_allclose(shares.sum(1), game.all - game.none, atol=1e-9)


@pytest.mark.parametrize("clusters", ["abcdefghijkl", "aaaaaaaaaaaa"])
def test_drawn_with_nothing_to_nest_is_the_shapley_estimator(clusters):
    game = play(clusters, arbitrary, 60)
    np.testing.assert_allclose(owen(12, clusters).shares(game), SHAPLEY.shares(game), atol=1e-9)


def test_the_mean_over_seeds_is_close_to_the_exact_value():
    clusters = "aaaaabbbbcd"
    exact = owen(11, clusters).shares(play(clusters, arbitrary))[0]
    drawn = np.stack([owen(11, clusters).shares(play(clusters, arbitrary, 300, seed))[0] for seed in range(60)])
    error = drawn.std(0, ddof=1) / np.sqrt(len(drawn))
    assert (error > 0.001).all()
    assert (np.abs(drawn.mean(0) - exact) < 4 * error).all()


@pytest.mark.parametrize("clusters", ["abcde", "aaaaa"])
def test_clusters_of_one_and_one_cluster_are_shapley_values(clusters):
    wanted = SHAPLEY.shares(Game.of_function(tuple("uvwxy"), proper(5), arbitrary))
    np.testing.assert_allclose(owen(5, clusters).shares(play(clusters, arbitrary)), wanted, atol=1e-9)


def test_without_clusters_each_is_its_own():
    game = Game.of_function(tuple("uvwxy"), OWEN.coalitions(5, ALL, 0), arbitrary)
    np.testing.assert_allclose(OWEN.shares(game), SHAPLEY.shares(game), atol=1e-9)


@pytest.mark.parametrize("clusters", ["aabbbc", "abcabc", "aaaaab"])
def test_a_clusters_total_is_its_shapley_value_among_clusters(clusters):
    names = sorted(set(clusters))
    place = np.array([names.index(name) for name in clusters])
    shares = owen(6, clusters).shares(play(clusters, arbitrary))[0]
    quotient = Game.of_function(names, proper(len(names)), lambda inside: arbitrary(inside[place]))
    np.testing.assert_allclose(np.bincount(place, shares), SHAPLEY.shares(quotient)[0], atol=1e-9)


def split(function, player, parts):
    """The game in which a player's work is in parts: it counts as half when half the parts are there."""

    def of_parts(inside):
        share = inside[player : player + parts].mean()
        low, high = (
            function(np.concatenate([inside[:player], [own], inside[player + parts :]]).astype(bool))
            for own in (False, True)
        )
        return (1 - share**2) * low + share**2 * high

    return of_parts


@pytest.mark.parametrize("parts", [2, 5])
@pytest.mark.parametrize("player", [0, 2, 5])
def test_splitting_a_member_inside_its_cluster_changes_no_other_and_no_total(player, parts):
    clusters = "aabbbc"
    longer = clusters[:player] + clusters[player] * parts + clusters[player + 1 :]
    before = owen(6, clusters).shares(play(clusters, arbitrary))[0]
    after = owen(len(longer), longer).shares(play(longer, split(arbitrary, player, parts)))[0]
    for name in "abc":
        own, now = ([u for u, label in enumerate(labels) if label == name] for labels in (clusters, longer))
        assert abs(before[own].sum() - after[now].sum()) < 1e-6
        if name != clusters[player]:
            np.testing.assert_allclose(after[now], before[own], atol=1e-6)


def test_splitting_pays_with_shapley_values_which_is_what_clusters_are_for():
    # One left glove and two right ones; the left one's share of 2/3 is what two of its parts together lose nothing of.
    glove = lambda inside: float(min(inside[0], inside[1] or inside[2]))  # noqa: E731
    of_parts = lambda inside: glove(np.append(inside[:5].all(), inside[5:]))  # noqa: E731
    game = Game.of_function([str(u) for u in range(7)], proper(7), of_parts)
    assert SHAPLEY.shares(game)[0, :5].sum() > 2 / 3 + 0.1
    assert abs(owen(7, "aaaaabc").shares(game)[0, :5].sum() - 2 / 3) < 1e-9


def test_weights_are_those_of_pairs():
    one = owen(12, "aaaabbbbcccc")
    game = play("aaaabbbbcccc", arbitrary, 110)
    first = one.shares(game.select(np.arange(88)))
    np.testing.assert_allclose(one.shares(game, np.arange(110) < 88), first, atol=1e-9)


MIXED = play("aaaabbbbcccc", arbitrary, 44)
EXACT = play("abcabc", arbitrary)


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        (lambda: owen(3, "ab"), ConfigError, "given 2 for 3"),
        (lambda: owen(1, "a"), ConfigError, "at least 2 contributors"),
        (lambda: owen(3, "abc").coalitions(4, 10, 0), ConfigError, "of 3 contributors, the game has 4"),
        (lambda: owen(3, "abc").shares(EXACT), ConfigError, "of 3 contributors, the game has 6"),
        (lambda: owen(12, "aabbccddeeff").coalitions(12, 21, 0), ConfigError, "need 22 coalitions or more, given 21"),
        (lambda: owen(12, "aabbccddeeff").shares(MIXED), DataError, "not pairs for Owen values"),
        (lambda: owen(12, "aaaabbbbcccc").shares(MIXED.select(np.arange(43))), DataError, "not pairs for Owen values"),
        (
            lambda: owen(12, "aaaabbbbcccc").shares(MIXED.select(np.arange(1, 43))),
            DataError,
            "not pairs for Owen values",
        ),
        (lambda: owen(12, "aaaabbbbcccc").shares(MIXED.select(np.arange(22))), DataError, "don't determine the shares"),
        (lambda: owen(12, "aaaabbbbcccc").shares(MIXED, np.zeros(44)), DataError, "No coalition"),
        (lambda: owen(6, "abcabc").shares(EXACT, np.zeros(len(EXACT.coalitions))), DataError, "have weight 0"),
    ],
)
def test_what_cannot_be_computed_says_so(asked, error, told):
    with pytest.raises(error, match=told):
        asked()
