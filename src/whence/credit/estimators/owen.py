"""Owen values: Shapley values between clusters of contributors, and then inside each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from whence.credit.coalitions import every, with_complements
from whence.credit.estimators import shapley
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.owen_pairs import nested_coalitions, nested_shares
from whence.credit.estimators.rows import is_proper, values_of
from whence.credit.game import Game
from whence.errors import ConfigError, DataError


def owen(players: int, clusters: Sequence[str]) -> Estimator:
    """Return the estimator of Owen values (Owen 1977) over clusters of contributors.

    An Owen value is the mean of what a contributor adds to those before it, over all orders in which every cluster
    stays together. A cluster's total is its Shapley value in the game of whole clusters, whatever its members:
    splitting one into several of the same cluster leaves all totals as they are. Shares add up to v(all) - v(∅).

    From as many coalitions as that needs (for c clusters of sizes m: 2^c - 2 + 2^(c-1) Σ (2^m - 2)) all are measured
    and the values are exact. Fewer are drawn in pairs, between clusters and inside each, and solved by least squares
    (`owen_pairs.py`).

    Args:
        players: U, at least 2.
        clusters: Name of each player's cluster, U.

    Returns:
        The estimator, for games of these players in this order.

    Raises:
        ConfigError: There isn't one cluster for each player.

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
        return nested_coalitions(cluster, count, seed)
    rows = [_rows(cluster, k).reshape(-1, players) for k in range(cluster.max() + 1)]
    needed = np.unique(np.concatenate(rows), axis=0)
    return with_complements(needed[needed[:, 0] & is_proper(needed)])


def _shares(clusters: np.ndarray | None, game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    cluster = _clusters_of(clusters, len(game.players))
    if _drawn(clusters, game) is not None:
        return nested_shares(cluster, game, weights)
    shares = np.empty((len(game.none), len(cluster)))
    for k in range(cluster.max() + 1):
        shares[:, cluster == k] = shapley.shares(_inside(cluster, k, game, weights))
    return shares


def _inside(cluster: np.ndarray, k: int, game: Game, weights: np.ndarray | None) -> Game:
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
    names = tuple(name for name, inside in zip(game.players, cluster == k, strict=True) if inside)
    return Game(names, game.behaviours, rows[0, 1:-1][:, cluster == k], worth[1:-1], worth[0], worth[-1])


def _rows(cluster: np.ndarray, k: int) -> np.ndarray:
    """Return Q ∪ T for all sets Q of other clusters and T of members of cluster k, bool [2^(c-1), 2^m, U]."""
    others, members = every(cluster.max()), every(int((cluster == k).sum()))
    rows = np.zeros((len(others), len(members), len(cluster)), bool)
    rows[:, :, cluster == k] = members
    rows[:, :, cluster != k] = others[:, None, (cluster - (cluster > k))[cluster != k]]
    return rows


def _number_of_all(cluster: np.ndarray) -> int:
    """Return how many coalitions, but for nobody and everybody, are whole clusters and some members of one more."""
    sizes: list[int] = np.bincount(cluster).tolist()
    return int(2 ** len(sizes) - 2 + 2 ** (len(sizes) - 1) * sum(2**size - 2 for size in sizes))


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


#: Every contributor its own cluster, which makes it the Shapley value.
OWEN = _estimator("Owen value, each contributor its own cluster", None)
