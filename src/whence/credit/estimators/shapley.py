"""Shapley values by constrained weighted least squares."""

from __future__ import annotations

import numpy as np
from scipy.linalg import helmert

from whence.credit.coalitions import shapley_coalitions
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.regression import kernel, least_squares, row_weights
from whence.credit.estimators.rows import drawn_in_pairs
from whence.credit.game import Game


def shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Shapley values: the additive game that is closest to v and agrees on nobody and everybody.

        φ = argmin_β Σ_S w_S (v(S) - v(∅) - Σ_{u in S} β_u)²  with  Σ_u β_u = v(all) - v(∅)

    With w the Shapley kernel over all coalitions this is the Shapley value (Charnes et al. 1988); coalitions that were
    drawn by the kernel count once each (Covert & Lee 2021; Lu et al. 2025). The constraint is solved for, not added:
    β = (v(all) - v(∅)) / U + Zγ with Z [U, U - 1] an orthonormal basis of the differences, so γ is an ordinary least
    squares solution, the closed form of the papers without its inverse of a near-singular matrix.

    Args:
        game: Values of coalitions from `shapley_coalitions`, or all coalitions.
        weights: Multiplicities of the coalitions, [M]; 1 by default.

    Returns:
        Shares, float64 [B, U], in the unit of v, positive where a contributor raises it; they add up to v(all) - v(∅).

    Raises:
        DataError: Too few coalitions to determine the shares.

    Example:
        >>> glove = lambda inside: float(min(inside[0], inside[1] or inside[2]))  # one left glove, two right ones
        >>> game = Game.played(("a", "b", "c"), shapley_coalitions(3, 6, seed=0), glove)
        >>> shares(game).round(6).tolist()
        [[0.666667, 0.166667, 0.166667]]
    """
    players = len(game.players)
    even: np.ndarray = (game.all - game.none) / players
    if players == 1:
        return even[:, None]
    weighed = row_weights(game, weights, kernel(players))
    basis = helmert(players).T
    inside = game.coalitions.astype(float)
    target = game.values - game.none - inside.sum(1, keepdims=True) * even
    found: np.ndarray = even[:, None] + (basis @ least_squares(inside @ basis, target, weighed, players)).T
    return found


SHAPLEY = Estimator(
    "shapley",
    "Shapley value",
    "Lu et al. 2025 (arXiv:2407.03153); Covert & Lee 2021 (arXiv:2012.01536)",
    True,
    shapley_coalitions,
    shares,
    drawn_in_pairs,
)
