"""Shapley values by constrained weighted least squares, and what copies of a contributor do to them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from whence.credit.coalitions import kernel_odds, shapley_coalitions
from whence.credit.estimators.estimator import Estimator
from whence.credit.game import Game, cells, drawn_in_pairs, is_complete, is_proper, multiplicities, values_of
from whence.errors import DataError
from whence.lazy import linalg, special

#: Degree of the polynomial in |S|.
DEGREE = 3


def shapley_shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Shapley values [B, U]: the additive game that is closest to v and agrees on nobody and everybody.

        φ = argmin_β Σ_S w_S (v(S) - v(∅) - Σ_{u in S} β_u)²  with  Σ_u β_u = v(all) - v(∅)

    With w the Shapley kernel over all coalitions this is the Shapley value (Charnes et al. 1988); coalitions that were
    drawn by the kernel count once each (Covert & Lee 2021; Lu et al. 2025). The constraint is solved for, not added:
    β = (v(all) - v(∅)) / U + Zγ with Z [U, U - 1] an orthonormal basis of the differences, so γ is an ordinary least
    squares solution, the closed form of the papers without its inverse of a near-singular matrix.

    What depends on the size of a coalition alone is nobody's: a function of |S| added to v changes all Shapley values
    by the same amount. In drawn coalitions it would still hide them, since models of one or two contributors are much
    worse than all others. So a cubic in |S| is fitted beside the shares and left out. Over all coalitions it is
    orthogonal to differences between contributors and changes nothing; with few coalitions it is not fitted. Too few
    to determine the shares are a DataError.

    Example:
        >>> glove = lambda inside: float(min(inside[0], inside[1] or inside[2]))  # one left glove, two right ones
        >>> game = Game.of_function(("a", "b", "c"), shapley_coalitions(3, 6, seed=0), glove)
        >>> shapley_shares(game).round(6).tolist()
        [[0.666667, 0.166667, 0.166667]]
    """
    players = len(game.players)
    even: np.ndarray = (game.all - game.none) / players
    if players == 1:
        return even[:, None]
    weighed = row_weights(game, weights, _kernel(players))
    basis = linalg.helmert(players).T
    inside = game.coalitions.astype(float)
    target = game.values - game.none - inside.sum(1, keepdims=True) * even
    design = np.hstack([inside @ basis, _sizes(game.coalitions, weighed)])
    differences = basis @ least_squares(design, target, weighed, players)[: players - 1]
    shares: np.ndarray = even[:, None] + differences.T
    return shares


def _sizes(coalitions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Functions of |S| that stand beside the shares, [M, d]: a cubic, or none where coalitions are few."""
    size = coalitions.sum(1) / coalitions.shape[1]
    used = weights > 0
    room = used.sum() >= 2 * (coalitions.shape[1] + DEGREE) and len(np.unique(size[used])) > DEGREE
    return np.stack([size**k for k in range(DEGREE + 1)], axis=1) if room else np.zeros((len(size), 0))


def _kernel(players: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the Shapley kernel 1 / (C(U, s) s (U - s)) of sizes s; 0 for nobody and everybody."""
    odds = [*kernel_odds(players), 0.0]
    table = np.array([odds[size] / math.comb(players, size) for size in range(players + 1)])
    return lambda sizes: table[sizes]


def row_weights(game: Game, weights: np.ndarray | None, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the weight of every coalition in the sum of squares, float64 [M]; they add up to 1.

    Where the game has all proper coalitions, each has the weight that `measure`, a function of sizes, gives its size
    up to a factor, spread over its repeats. Else they were drawn from that measure, and each counts once. Nobody and
    everybody have no weight, because their values are known.

    Raises:
        DataError: No coalition has any weight.
    """
    counts = multiplicities(game, weights) * is_proper(game.coalitions)
    if is_complete(game):
        cell = cells(game.coalitions)
        total = np.bincount(cell, counts)[cell]
        counts = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0) * measure(game.coalitions.sum(1))
    if not counts.sum() > 0:
        raise DataError("No coalition of some but not all contributors was measured; shares need them.")
    weighed: np.ndarray = counts / counts.sum()
    return weighed


def least_squares(design: np.ndarray, target: np.ndarray, weights: np.ndarray, players: int) -> np.ndarray:
    """Return argmin_γ Σ_m w_m |target_m - design_m γ|², float64 [p, B]; by QR with pivoting, without squaring.

    The design is [M, p], the target [M, B], w [M]; `players` is for the message.

    Raises:
        DataError: The rows don't determine the coefficients.
    """
    used = weights > 0
    root = np.sqrt(weights[used])[:, None]
    tolerance = np.finfo(float).eps * max(design.shape)
    solution, _, rank, _ = linalg.lstsq(root * design[used], root * target[used], cond=tolerance, lapack_driver="gelsy")
    if rank < design.shape[1]:
        raise DataError(
            f"{used.sum()} coalitions don't determine the shares of {players} contributors: they leave "
            f"{design.shape[1] - rank} of {design.shape[1]} unknowns open. Measure more coalitions; "
            f"{4 * players} are a beginning."
        )
    solved: np.ndarray = solution
    return solved


def replicated_totals(game: Game, shares: np.ndarray, names: int) -> np.ndarray:
    """Return the sum [B, U] of the Shapley values of each player's k names in the game that it alone replicated.

    Copies of examples are taken to be worthless: v'(S') = v(S) with u in S if any of its k names is in S'. The first
    name to arrive has what u adds, the others add nothing, so with B Euler's beta function

        total = Σ over S without u of k B(|S| + 1, U - |S| + k - 1) (v(S ∪ u) - v(S)).

    For k = 1 that is the Shapley value; for large k it comes near v({u}) - v(∅): copying pays where returns diminish.
    Copies do nothing to an additive game. So the estimated Shapley values, `shares`, are taken, and the difference
    between the sums for k names and for one is added, over r(S) = v(S) - v(∅) - Σ of the Shapley values of S. For each
    |S|, the means of r(S ∪ u) and r(S) are over the measured coalitions of these sizes, with u and without; for sizes
    without any they are interpolated. With all coalitions the totals are exact; drawn ones of one size are equally
    likely.

    Example:
        >>> from whence.credit.coalitions import proper
        >>> either = Game.of_function(("a", "b"), proper(2), lambda inside: float(inside.any()))
        >>> [replicated_totals(either, np.array([[0.5, 0.5]]), k).round(3).tolist() for k in (1, 2, 9)]
        [[[0.5, 0.5]], [[0.667, 0.667]], [[0.9, 0.9]]]
    """
    players = len(game.players)
    measured = np.unique(game.coalitions[is_proper(game.coalitions)], axis=0)
    left = values_of(game, measured) - game.none - measured @ shares.T
    weights = _arrival_odds(players, names) - _arrival_odds(players, 1)
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


def _arrival_odds(players: int, names: int) -> np.ndarray:
    """C(U - 1, s) k B(s + 1, U - s + k - 1): the odds that s others arrive before the first of k names, s < U."""
    size = np.arange(players)
    choose = special.gammaln(players) - special.gammaln(size + 1) - special.gammaln(players - size)
    odds: np.ndarray = names * np.exp(choose + special.betaln(size + 1, players - size + names - 1))
    return odds


def _means(size: np.ndarray, values: np.ndarray, sizes: int) -> np.ndarray:
    """Mean of values [M, B] for each size 0 ... sizes - 1, [sizes, B]; linear between the sizes that there are."""
    measured, row, count = np.unique(size, return_inverse=True, return_counts=True)
    sums = np.zeros((len(measured), values.shape[1]))
    np.add.at(sums, row.reshape(-1), values)
    means = sums / count[:, None]
    return np.stack([np.interp(np.arange(sizes), measured, column) for column in means.T], axis=1)


SHAPLEY = Estimator(
    name="shapley",
    title="Shapley value",
    paper="Lu et al. 2025 (arXiv:2407.03153); Covert & Lee 2021 (arXiv:2012.01536)",
    efficient=True,
    coalitions=shapley_coalitions,
    shares=shapley_shares,
    drawn=drawn_in_pairs,
    meaning="the average difference that a contributor makes when contributors join one after another, over all "
    "orders in which they could join (Shapley value)",
    replicated_totals=lambda game, names: replicated_totals(game, shapley_shares(game), names),
)
