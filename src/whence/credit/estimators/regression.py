"""Least squares over the coalitions of a game, which Shapley and Banzhaf values share."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import lstsq

from whence.credit.coalitions import kernel_odds
from whence.credit.estimators.rows import cells, is_complete, is_proper, multiplicities
from whence.credit.game import Game
from whence.errors import DataError


def row_weights(game: Game, weights: np.ndarray | None, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the weight of every coalition in the sum of squares, float64 [M].

    Where the game has all proper coalitions, each has the weight that the estimator's measure gives its size, spread
    over its repeats. Else they were drawn from that measure, and each counts once. Nobody and everybody have no weight,
    because their values are known.

    Args:
        game: Game of U players.
        weights: Multiplicities of its coalitions, [M]; 1 by default.
        measure: From the sizes of coalitions to their odds, up to a factor.

    Returns:
        Weights, which add up to 1.

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

    Args:
        design: [M, p].
        target: [M, B].
        weights: w, [M].
        players: Contributors, for the message.

    Returns:
        The coefficients γ.

    Raises:
        DataError: The rows don't determine the coefficients.
    """
    used = weights > 0
    root = np.sqrt(weights[used])[:, None]
    tolerance = np.finfo(float).eps * max(design.shape)
    solution, _, rank, _ = lstsq(root * design[used], root * target[used], cond=tolerance, lapack_driver="gelsy")
    if rank < design.shape[1]:
        raise DataError(
            f"{used.sum()} coalitions don't determine the shares of {players} contributors: they leave "
            f"{design.shape[1] - rank} of {design.shape[1]} unknowns open. Measure more coalitions; "
            f"{4 * players} are a beginning."
        )
    solved: np.ndarray = solution
    return solved


def kernel(players: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the Shapley kernel 1 / (C(U, s) s (U - s)) of sizes s; 0 for nobody and everybody.

    Example:
        >>> kernel(3)(np.array([0, 1, 2, 3])).round(3).tolist()
        [0.0, 0.167, 0.167, 0.0]
    """
    odds = [*kernel_odds(players), 0.0]
    table = np.array([odds[size] / math.comb(players, size) for size in range(players + 1)])
    return lambda sizes: table[sizes]
