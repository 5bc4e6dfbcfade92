"""Add-one-in: what one contributor does alone."""

from __future__ import annotations

import numpy as np

from whence.credit.coalitions import add_one_in
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.single import value_for_each
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
        >>> game = Game.played(("a", "b"), add_one_in(2), lambda inside: inside @ np.array([3.0, 1.0]))
        >>> shares(game).tolist()
        [[3.0, 1.0]]
    """
    found: np.ndarray = (value_for_each(game, add_one_in(len(game.players)), weights, "of only") - game.none).T
    return found


ADD_ONE_IN = Estimator(
    "add-one-in",
    "Add one in",
    "the value of a coalition of one",
    False,
    lambda players, count, seed: add_one_in(players),
    shares,
    lambda game: None,
)
