"""Replication of Shapley values: the total of a contributor that hands in its examples under several names.

Copies of examples are taken to be worthless, so the replicated game is v'(S') = v(S) with u in S if any of u's k names
is in S'. Its values are those of the game that was measured, and no new model is needed.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln

from whence.credit.estimators.rows import is_proper, values_of
from whence.credit.game import Game


def replicated_totals(game: Game, shares: np.ndarray, names: int) -> np.ndarray:
    """Return for each player u the sum of the Shapley values of its k names in the game that it alone replicated.

    The first name to arrive has what u adds, the others add nothing, so with B Euler's beta function

        total = Σ over S without u of k B(|S| + 1, U - |S| + k - 1) (v(S ∪ u) - v(S)).

    For k = 1 that is the Shapley value; for large k it comes near v({u}) - v(∅): copying pays where returns diminish.
    Copies do nothing to an additive game. So the estimated Shapley value is taken, and the difference between the sums
    for k names and for one is added, over r(S) = v(S) - v(∅) - Σ of the Shapley values of S. For each |S|, the means of
    r(S ∪ u) and r(S) are over the measured coalitions of these sizes, with u and without; for sizes without any they
    are interpolated.

    Args:
        game: A game of U players with all coalitions, which makes the totals exact, or with drawn ones, where those of
            one size are equally likely.
        shares: Its Shapley values, [B, U].
        names: k, from 1 on.

    Returns:
        Totals, float64 [B, U].

    Example:
        >>> from whence.credit.coalitions import proper
        >>> either = Game.of_function(("a", "b"), proper(2), lambda inside: float(inside.any()))
        >>> [replicated_totals(either, np.array([[0.5, 0.5]]), k).round(3).tolist() for k in (1, 2, 9)]
        [[[0.5, 0.5]], [[0.667, 0.667]], [[0.9, 0.9]]]
    """
    players = len(game.players)
    measured = np.unique(game.coalitions[is_proper(game.coalitions)], axis=0)
    left = values_of(game, measured) - game.none - measured @ shares.T
    weights = _weights(players, names) - _weights(players, 1)
    changes = [weights @ _added(left, measured, u) for u in range(players)]
    totals: np.ndarray = shares + np.stack(changes, axis=1)
    return totals


def _added(left: np.ndarray, coalitions: np.ndarray, player: int) -> np.ndarray:
    """Mean of r(S ∪ u) minus that of r(S) for each |S| = 0 ... U - 1, [U, B]; r of nobody and everybody is 0."""
    players, inside = coalitions.shape[1], coalitions[:, player]
    others = coalitions.sum(1) - inside
    end = np.zeros((1, left.shape[1]))
    within = _means(np.append(others[inside], players - 1), np.concatenate([left[inside], end]), players)
    without = _means(np.append(others[~inside], 0), np.concatenate([left[~inside], end]), players)
    added: np.ndarray = within - without
    return added


def _weights(players: int, names: int) -> np.ndarray:
    """C(U - 1, s) k B(s + 1, U - s + k - 1): the odds that s others arrive before the first of k names, s < U."""
    size = np.arange(players)
    choose = gammaln(players) - gammaln(size + 1) - gammaln(players - size)
    odds: np.ndarray = names * np.exp(choose + betaln(size + 1, players - size + names - 1))
    return odds


def _means(size: np.ndarray, values: np.ndarray, sizes: int) -> np.ndarray:
    """Mean of values [M, B] for each size 0 ... sizes - 1, [sizes, B]; linear between the sizes that there are."""
    measured, row, count = np.unique(size, return_inverse=True, return_counts=True)
    sums = np.zeros((len(measured), values.shape[1]))
    np.add.at(sums, row.reshape(-1), values)
    means = sums / count[:, None]
    return np.stack([np.interp(np.arange(sizes), measured, column) for column in means.T], axis=1)
