"""Owen values: Shapley values between clusters of contributors, and then inside each.

Where all coalitions that this needs were measured, the values are exact. Where pairs of coalitions were drawn, they are
Shapley regressions between clusters and inside each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from whence.credit.coalitions import every, kernel_odds, sets, with_complements
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.shapley import shapley_shares
from whence.credit.game import Game, is_proper, multiplicities, values_of
from whence.errors import ConfigError, DataError

_NOT_NESTED = (
    "These coalitions are not pairs for Owen values over these clusters; measure the coalitions that this estimator "
    "asks for, and keep their order."
)


def owen(players: int, clusters: Sequence[str]) -> Estimator:
    """Return the estimator of Owen values (Owen 1977) for games of U players in clusters with these names, U.

    An Owen value is the mean of what a contributor adds to those before it, over all orders in which every cluster
    stays together. A cluster's total is its Shapley value in the game of whole clusters, whatever its members:
    splitting one into several of the same cluster leaves all totals as they are. Shares add up to v(all) - v(∅).

    From as many coalitions as that needs (for c clusters of sizes m: 2^c - 2 + 2^(c-1) Σ (2^m - 2)) all are measured
    and the values are exact. Fewer are drawn in pairs, between clusters and inside each, and solved by least squares.

    Raises:
        ConfigError: There isn't one cluster for each player, or there are fewer than 2 players.

    Example:
        >>> majority = lambda inside: float(inside.sum() >= 2)
        >>> estimator = owen(3, ("x", "x", "y"))
        >>> game = Game.of_function(("a", "b", "c"), estimator.coalitions(3, 100, 0), majority)
        >>> estimator.shares(game).round(6).tolist()
        [[0.5, 0.5, 0.0]]
    """
    if len(clusters) != players or players < 2:
        raise ConfigError(
            f"Owen values need a cluster for each of at least 2 contributors; given {len(clusters)} for {players}."
        )
    number = np.unique(np.array(list(clusters), str), return_inverse=True)[1].reshape(-1)
    return _estimator(f"Owen value over {number.max() + 1} clusters", number)


def _estimator(title: str, clusters: np.ndarray | None) -> Estimator:
    return Estimator(
        name="owen",
        title=title,
        paper="Owen 1977, Values of games with a priori unions",
        efficient=True,
        coalitions=partial(_coalitions, clusters),
        shares=partial(_shares, clusters),
        drawn=partial(_drawn, clusters),
        meaning="the average difference that a contributor makes when contributors join one after another, and those "
        "that belong together join together (Owen value)",
        replication=lambda names: 1.0,  # if the names are known to be of one cluster
        split_invariant=True,
    )


def _coalitions(clusters: np.ndarray | None, players: int, count: int, seed: int) -> np.ndarray:
    cluster = _clusters_of(clusters, players)
    if count < _number_of_all(cluster):
        return _nested_coalitions(cluster, count, seed)
    rows = [_rows(cluster, k).reshape(-1, players) for k in range(cluster.max() + 1)]
    needed = np.unique(np.concatenate(rows), axis=0)
    return with_complements(needed[needed[:, 0] & is_proper(needed)])


def _shares(clusters: np.ndarray | None, game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    cluster = _clusters_of(clusters, len(game.players))
    if _drawn(clusters, game) is not None:
        return _nested_shares(cluster, game, weights)
    shares = np.empty((len(game.none), len(cluster)))
    for k in range(cluster.max() + 1):
        shares[:, cluster == k] = shapley_shares(_exact_game_inside(cluster, k, game, weights))
    return shares


def _drawn(clusters: np.ndarray | None, game: Game) -> int | None:
    cluster = _clusters_of(clusters, len(game.players))
    if len(game.coalitions) >= _number_of_all(cluster):
        needed = _coalitions(clusters, len(cluster), len(game.coalitions), seed=0)
        if not np.isnan(values_of(game, needed)).any():
            return None
    return 2


def _clusters_of(clusters: np.ndarray | None, players: int) -> np.ndarray:
    """Return the clusters of players; each its own by default."""
    if clusters is not None and len(clusters) != players:
        raise ConfigError(f"These clusters are of {len(clusters)} contributors, the game has {players}.")
    return np.arange(players) if clusters is None else clusters


def _number_of_all(cluster: np.ndarray) -> int:
    """Return how many coalitions, but for nobody and everybody, are whole clusters and some members of one more."""
    sizes: list[int] = np.bincount(cluster).tolist()
    return int(2 ** len(sizes) - 2 + 2 ** (len(sizes) - 1) * sum(2**size - 2 for size in sizes))


def _exact_game_inside(cluster: np.ndarray, k: int, game: Game, weights: np.ndarray | None) -> Game:
    """Return the game on the members of cluster k whose Shapley values are their Owen values.

    w(T) = Σ_Q p(Q) v(Q ∪ T), Q any of the c - 1 other clusters, p(Q) = |Q|! (c - 1 - |Q|)! / c!.

    Raises:
        DataError: A coalition has no weight.
    """
    rows = _rows(cluster, k)
    flat = rows.reshape(-1, len(cluster))
    values = values_of(game, flat, weights)
    values[~flat.any(1)], values[flat.all(1)] = game.none, game.all
    if np.isnan(values).any():
        raise DataError("Coalitions that Owen values need have weight 0.")
    others = every(cluster.max()).sum(1)
    odds = np.array([1 / ((cluster.max() + 1) * math.comb(cluster.max(), size)) for size in others])
    worth = np.einsum("q,qtb->tb", odds, values.reshape(*rows.shape[:2], -1))
    names = _names(game, cluster == k)
    return Game(names, game.behaviours, rows[0, 1:-1][:, cluster == k], worth[1:-1], worth[0], worth[-1])


def _names(game: Game, members: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, inside in zip(game.players, members, strict=True) if inside)


def _rows(cluster: np.ndarray, k: int) -> np.ndarray:
    """Return Q ∪ T for all sets Q of other clusters and T of members of cluster k, bool [2^(c-1), 2^m, U]."""
    others, members = every(cluster.max()), every(int((cluster == k).sum()))
    rows = np.zeros((len(others), len(members), len(cluster)), bool)
    rows[:, :, cluster == k] = members
    rows[:, :, cluster != k] = others[:, None, (cluster - (cluster > k))[cluster != k]]
    return rows


def _nested_coalitions(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return drawn coalitions in pairs, bool [M, U], shared out evenly over the U - 1 differences to be found.

    Between clusters, c - 1 pairs of every U - 1: some whole clusters, as for Shapley values, and the others. Inside a
    cluster of m members, m - 1 pairs: some of its members T, as for Shapley values, or the others of the cluster, both
    with the same whole other clusters Q, any number of them alike likely. A prefix of a longer design is the shorter
    one.

    Raises:
        ConfigError: There are too few for one pair for each difference.
    """
    sizes = np.bincount(cluster)
    differences = np.repeat(np.arange(-1, len(sizes)), [len(sizes) - 1, *(sizes - 1)])
    pairs = count // 2
    if pairs < len(differences):
        raise ConfigError(
            f"Owen values of {len(cluster)} contributors need {2 * len(differences)} coalitions or more, given {count}."
        )
    uniform = np.random.default_rng(seed).random((pairs, 2 + len(sizes) + len(cluster)))
    coalitions = np.empty((pairs, 2, len(cluster)), bool)
    for k in np.unique(differences):
        chosen = differences[np.arange(pairs) % len(differences)] == k
        coalitions[chosen] = _pairs(cluster, k, uniform[chosen])
    return coalitions.reshape(-1, len(cluster))


def _pairs(cluster: np.ndarray, k: int, uniform: np.ndarray) -> np.ndarray:
    """Return pairs inside cluster k, bool [P, 2, U]; between clusters if it is -1."""
    clusters = cluster.max() + 1
    between, inside = uniform[:, 2 : 2 + clusters], uniform[:, 2 + clusters :]
    if k < 0:
        whole = sets(uniform[:, 0], between, kernel_odds(clusters))
        return with_complements(whole[:, cluster]).reshape(-1, 2, len(cluster))
    members = cluster == k
    others = sets(uniform[:, 0], np.where(np.arange(clusters) == k, np.inf, between), [1.0] * clusters)[:, cluster]
    some = sets(uniform[:, 1], np.where(members, inside, np.inf), kernel_odds(int(members.sum())))
    return np.stack([others | some, others | (members & ~some)], axis=1)


def _nested_shares(cluster: np.ndarray, game: Game, weights: np.ndarray | None) -> np.ndarray:
    """Return Owen values from drawn coalitions, pairs still together; weights are alike for those of a pair.

    The totals τ of clusters are Shapley values of the game of whole clusters. Inside a cluster, a pair with the same Q
    gives (v(Q ∪ T) - v(Q ∪ rest)) / 2, whose mean over Q is that of the game on its members whose Shapley values are
    their Owen values; so these are a Shapley regression that adds up to τ. One cluster, or only clusters of one, leave
    the Shapley estimator as it is.

    Raises:
        DataError: The coalitions aren't such pairs, or too few to determine the shares.
    """
    counts, rows = multiplicities(game, weights), game.coalitions
    present = np.stack([rows[:, cluster == k].mean(1) for k in range(cluster.max() + 1)], axis=1)
    partly = (present > 0) & (present < 1)
    if (partly.sum(1) > 1).any():
        raise DataError(_NOT_NESTED)
    whole = ~partly.any(1) & is_proper(rows)
    names = tuple(map(str, range(cluster.max() + 1)))
    between = Game(names, game.behaviours, present[whole] > 0, game.values[whole], game.none, game.all)
    totals = shapley_shares(between, counts[whole])
    shares = totals[:, cluster]
    for k in np.flatnonzero(np.bincount(cluster) > 1):
        members = cluster == k
        inside = _drawn_game_inside(members, np.flatnonzero(partly[:, k]), game, totals[:, k])
        shares[:, members] = shapley_shares(inside, counts[partly[:, k]])
    return shares


def _drawn_game_inside(members: np.ndarray, chosen: np.ndarray, game: Game, total: np.ndarray) -> Game:
    """Return the game on the members of a cluster, bool [U], from the rows that have some of them; pairs around 0."""
    first, second = chosen[::2], chosen[1::2]
    if len(first) != len(second) or (first % 2).any() or (second != first + 1).any():
        raise DataError(_NOT_NESTED)
    if ((game.coalitions[first] ^ game.coalitions[second]) != members).any():
        raise DataError(_NOT_NESTED)
    half = (game.values[first] - game.values[second]) / 2
    values = np.stack([half, -half], axis=1).reshape(-1, half.shape[1])
    rows = game.coalitions[chosen][:, members]
    return Game(_names(game, members), game.behaviours, rows, values, -total / 2, total / 2)


#: Every contributor its own cluster, which makes it the Shapley value.
OWEN = _estimator("Owen value, each contributor its own cluster", None)
