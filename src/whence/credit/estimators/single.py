"""Values of one coalition for each contributor, which leave-one-out and add-one-in share."""

from __future__ import annotations

import numpy as np

from whence.credit.estimators.rows import values_of
from whence.credit.game import Game
from whence.errors import DataError


def value_for_each(game: Game, wanted: np.ndarray, weights: np.ndarray | None, word: str) -> np.ndarray:
    """Return the value of each contributor's coalition, the mean over its repeats.

    Args:
        game: Game of U players.
        wanted: The coalition of each, bool [U, U].
        weights: Multiplicities of the game's coalitions, [M]; 1 by default.
        word: What the coalitions are, for the message, such as `without`.

    Returns:
        Values, float64 [U, B].

    Raises:
        DataError: A coalition was not measured.
    """
    found = values_of(game, wanted, weights)
    missing = [name for name, row in zip(game.players, found, strict=True) if np.isnan(row).any()]
    if missing:
        raise DataError(
            f"The model {word} {missing[0]} was not measured ({len(missing)} of {len(wanted)} such models are "
            "missing); measure the coalitions that this estimator asks for."
        )
    return found
