"""Add-one-in: what a contributor does alone."""

from __future__ import annotations

import numpy as np

from whence.credit.coalitions import add_one_in
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.rows import value_for_each
from whence.credit.game import Game


def shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return v({u}) - v(∅); the mean over repeats of the same coalition.

    Args:
        game: Values of all coalitions of one; others are ignored.
        weights: Multiplicities of the coalitions, [M]; 1 by default.

    Returns:
        Shares, float64 [B, U], in the unit of v, positive where a contributor raises it; they don't add up to
        anything in particular.

    Raises:
        DataError: A coalition of one was not measured.

    Example:
        >>> game = Game.of_function(("a", "b"), add_one_in(2), lambda inside: inside @ np.array([3.0, 1.0]))
        >>> shares(game).tolist()
        [[3.0, 1.0]]
    """
    alone = value_for_each(game, add_one_in(len(game.players)), weights, "of only")
    shares: np.ndarray = (alone - game.none).T
    return shares


ADD_ONE_IN = Estimator(
    name="add-one-in",
    title="Add one in",
    paper="the value of a coalition of one",
    efficient=False,
    coalitions=lambda players, count, seed: add_one_in(players),
    shares=shares,
    drawn=lambda game: None,
    meaning="the difference between a model of this contributor alone and a model of nobody",
    replication=float,
)
