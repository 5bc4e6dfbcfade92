"""Owen values from coalitions that were drawn: Shapley regressions between clusters and inside each."""

from __future__ import annotations

import numpy as np

from whence.credit.coalitions import kernel_odds, sets, with_complements
from whence.credit.estimators import shapley
from whence.credit.estimators.rows import is_proper, multiplicities
from whence.credit.game import Game
from whence.errors import ConfigError, DataError


def nested_coalitions(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return coalitions for Owen values, in pairs, shared out evenly over the U - 1 differences to be found.

    Between clusters, c - 1 pairs of every U - 1: some whole clusters, as for Shapley values, and the others. Inside a
    cluster of m members, m - 1 pairs: some of its members T, as for Shapley values, or the others of the cluster, both
    with the same whole other clusters Q, any number of them alike likely.

    Args:
        cluster: Number of each player's cluster, from 0, int [U].
        count: Coalitions to draw.
        seed: Of the draws; a prefix of a longer design is the shorter one.

    Returns:
        Coalitions, bool [M, U], an even number of them.

    Raises:
        ConfigError: There are too few for one pair for each difference.

    Example:
        >>> nested_coalitions(np.array([0, 0, 1]), 4, seed=0).astype(int).tolist()
        [[0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
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


def nested_shares(cluster: np.ndarray, game: Game, weights: np.ndarray | None) -> np.ndarray:
    """Return Owen values from drawn coalitions.

    The totals τ of clusters are Shapley values of the game of whole clusters. Inside a cluster, a pair with the same Q
    gives (v(Q ∪ T) - v(Q ∪ rest)) / 2, whose mean over Q is that of the game on its members whose Shapley values are
    their Owen values; so these are a Shapley regression that adds up to τ. One cluster, or only clusters of one, leave
    the Shapley estimator as it is.

    Args:
        cluster: Number of each player's cluster, from 0, int [U].
        game: Values of coalitions from `nested_coalitions`, pairs still together.
        weights: Multiplicities of the coalitions, [M], alike for those of a pair; 1 by default.

    Returns:
        Shares, float64 [B, U].

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
    totals = shapley.shares(between, counts[whole])
    shares = totals[:, cluster]
    for k in np.flatnonzero(np.bincount(cluster) > 1):
        members = cluster == k
        inside = _inside(members, np.flatnonzero(partly[:, k]), game, totals[:, k])
        shares[:, members] = shapley.shares(inside, counts[partly[:, k]])
    return shares


def _inside(members: np.ndarray, chosen: np.ndarray, game: Game, total: np.ndarray) -> Game:
    """Return the game on the members of a cluster, bool [U], from the rows that have some of them; pairs around 0.

    Raises:
        DataError: The rows aren't pairs.
    """
    first, second = chosen[::2], chosen[1::2]
    if len(first) != len(second) or (first % 2).any() or (second != first + 1).any():
        raise DataError(_NOT_NESTED)
    if ((game.coalitions[first] ^ game.coalitions[second]) != members).any():
        raise DataError(_NOT_NESTED)
    half = (game.values[first] - game.values[second]) / 2
    values = np.stack([half, -half], axis=1).reshape(-1, half.shape[1])
    names = tuple(name for name, inside in zip(game.players, members, strict=True) if inside)
    return Game(names, game.behaviours, game.coalitions[chosen][:, members], values, -total / 2, total / 2)


_NOT_NESTED = (
    "These coalitions are not pairs for Owen values over these clusters; measure the coalitions that this estimator "
    "asks for, and keep their order."
)
