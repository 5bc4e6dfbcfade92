"""Shapley values by constrained weighted least squares."""

from __future__ import annotations

import numpy as np
from scipy.linalg import helmert

from whence.credit.coalitions import shapley_coalitions
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.regression import kernel, least_squares, row_weights
from whence.credit.estimators.rows import drawn_in_pairs
from whence.credit.estimators.shapley_replication import replicated_totals
from whence.credit.game import Game

#: Degree of the polynomial in |S|.
DEGREE = 3


def shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Shapley values: the additive game that is closest to v and agrees on nobody and everybody.

        φ = argmin_β Σ_S w_S (v(S) - v(∅) - Σ_{u in S} β_u)²  with  Σ_u β_u = v(all) - v(∅)

    With w the Shapley kernel over all coalitions this is the Shapley value (Charnes et al. 1988); coalitions that were
    drawn by the kernel count once each (Covert & Lee 2021; Lu et al. 2025). The constraint is solved for, not added:
    β = (v(all) - v(∅)) / U + Zγ with Z [U, U - 1] an orthonormal basis of the differences, so γ is an ordinary least
    squares solution, the closed form of the papers without its inverse of a near-singular matrix.

    What depends on the size of a coalition alone is nobody's: a function of |S| added to v changes all Shapley values
    by the same amount. In drawn coalitions it would still hide them, since models of one or two contributors are much
    worse than all others. So a cubic in |S| is fitted beside the shares and left out. Over all coalitions it is
    orthogonal to differences between contributors and changes nothing; with few coalitions it is not fitted.

    Args:
        game: Values of coalitions from `shapley_coalitions`, or all coalitions.
        weights: Multiplicities of the coalitions, [M]; 1 by default.

    Returns:
        Shares, float64 [B, U], in the unit of v, positive where a contributor raises it; they add up to v(all) - v(∅).

    Raises:
        DataError: Too few coalitions to determine the shares.

    Example:
        >>> glove = lambda inside: float(min(inside[0], inside[1] or inside[2]))  # one left glove, two right ones
        >>> game = Game.of_function(("a", "b", "c"), shapley_coalitions(3, 6, seed=0), glove)
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
    design = np.hstack([inside @ basis, sizes(game.coalitions, weighed)])
    differences = basis @ least_squares(design, target, weighed, players)[: players - 1]
    shares: np.ndarray = even[:, None] + differences.T
    return shares


def sizes(coalitions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return functions of |S| that stand beside the shares, [M, d]: a cubic, or none where coalitions are few.

    Example:
        >>> from whence.credit.coalitions import proper
        >>> sizes(proper(5), np.ones(30)).shape, sizes(proper(3), np.ones(6)).shape
        ((30, 4), (6, 0))
    """
    size = coalitions.sum(1) / coalitions.shape[1]
    used = weights > 0
    room = used.sum() >= 2 * (coalitions.shape[1] + DEGREE) and len(np.unique(size[used])) > DEGREE
    return np.stack([size**k for k in range(DEGREE + 1)], axis=1) if room else np.zeros((len(size), 0))


SHAPLEY = Estimator(
    name="shapley",
    title="Shapley value",
    paper="Lu et al. 2025 (arXiv:2407.03153); Covert & Lee 2021 (arXiv:2012.01536)",
    efficient=True,
    coalitions=shapley_coalitions,
    shares=shares,
    drawn=drawn_in_pairs,
    meaning="the average difference that a contributor makes when contributors join one after another, over all "
    "orders in which they could join (Shapley value)",
    replicated_totals=lambda game, names: replicated_totals(game, shares(game), names),
)
