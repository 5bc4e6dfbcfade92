"""Leave-one-out: what is lost without one contributor."""

from __future__ import annotations

import numpy as np

from whence.credit.coalitions import leave_one_out
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.rows import value_for_each
from whence.credit.game import Game


def shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return v(all) - v(all without u); the mean over repeats of the same coalition.

    Args:
        game: Values of all coalitions of all but one; others are ignored.
        weights: Multiplicities of the coalitions, [M]; 1 by default.

    Returns:
        Shares, float64 [B, U], in the unit of v, positive where a contributor raises it; they don't add up to
        anything in particular.

    Raises:
        DataError: A coalition of all but one was not measured.

    Example:
        >>> game = Game.of_function(("a", "b"), leave_one_out(2), lambda inside: inside @ np.array([3.0, 1.0]))
        >>> shares(game).tolist()
        [[3.0, 1.0]]
    """
    without = value_for_each(game, leave_one_out(len(game.players)), weights, "without")
    shares: np.ndarray = (game.all - without).T
    return shares


LEAVE_ONE_OUT = Estimator(
    name="leave-one-out",
    title="Leave one out",
    paper="Cook 1977 (case deletion)",
    efficient=False,
    coalitions=lambda players, count, seed: leave_one_out(players),
    shares=shares,
    drawn=lambda game: None,
    meaning="the difference between the model of all contributors and a model of all but this one",
    replication=lambda names: 0.0,  # each copy stands in for the others
)
