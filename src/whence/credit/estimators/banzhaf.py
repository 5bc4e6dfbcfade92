"""Banzhaf values by least squares."""

from __future__ import annotations

import numpy as np

from whence.credit.coalitions import banzhaf_coalitions
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.regression import least_squares, row_weights
from whence.credit.estimators.rows import drawn_in_pairs
from whence.credit.game import Game


def shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Banzhaf values: what a contributor adds on average over all coalitions of the others.

        β = argmin_{β, c} Σ_S (v(S) - c - Σ_u (1[u in S] - 1/2) β_u)²  over all 2^U coalitions S

    (Hammer & Holzman 1992). Nobody and everybody have their known values and their weight of 2^-U each; the others are
    all coalitions, or were drawn by `banzhaf_coalitions`. Shares don't add up to anything in particular.

    Args:
        game: Values of coalitions from `banzhaf_coalitions`, or all coalitions.
        weights: Multiplicities of the coalitions, [M]; 1 by default.

    Returns:
        Shares, float64 [B, U], in the unit of v, positive where a contributor raises it.

    Raises:
        DataError: Too few coalitions to determine the shares.

    Example:
        >>> glove = lambda inside: float(min(inside[0], inside[1] or inside[2]))  # one left glove, two right ones
        >>> shares(Game.of_function(("a", "b", "c"), banzhaf_coalitions(3, 6, seed=0), glove)).round(6).tolist()
        [[0.75, 0.25, 0.25]]
    """
    players = len(game.players)
    known = 2.0**-players
    weighed = (1 - 2 * known) * row_weights(game, weights, np.ones_like)
    ends = np.stack([np.zeros(players), np.ones(players)])
    inside = np.concatenate([game.coalitions.astype(float), ends])
    design = np.column_stack([inside - 0.5, np.ones(len(inside))])
    target = np.concatenate([game.values, game.none[None], game.all[None]])
    solved = least_squares(design, target, np.concatenate([weighed, [known, known]]), players)
    shares: np.ndarray = solved[:-1].T
    return shares


BANZHAF = Estimator(
    name="banzhaf",
    title="Banzhaf value",
    paper="Hammer & Holzman 1992; Wang & Jia 2023 (arXiv:2205.15466)",
    efficient=False,
    coalitions=banzhaf_coalitions,
    shares=shares,
    drawn=drawn_in_pairs,
    meaning="the average difference that a contributor makes to a random half of the others (Banzhaf value)",
    replication=lambda names: names / 2 ** (names - 1),  # a name counts only without all others
)
