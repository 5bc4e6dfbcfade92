"""The rows of a game: which coalitions are there, how often, and what they are worth."""

from __future__ import annotations

import numpy as np

from whence.credit.game import Game
from whence.errors import ConfigError


def multiplicities(game: Game, weights: np.ndarray | None) -> np.ndarray:
    """Return how often each coalition counts, float64 [M]; once by default.

    Raises:
        ConfigError: Weights have the wrong shape, or are negative or not finite.
    """
    given = np.ones(len(game.coalitions)) if weights is None else np.asarray(weights, float)
    if given.shape != (len(game.coalitions),) or not np.isfinite(given).all() or (given < 0).any():
        raise ConfigError(
            f"Weights of {len(game.coalitions)} coalitions are as many finite numbers, not below 0; "
            f"given {given.size} of shape {given.shape}."
        )
    return given


def is_proper(coalitions: np.ndarray) -> np.ndarray:
    """Return which coalitions, bool [M, U], are neither nobody nor everybody, bool [M]."""
    sizes = coalitions.sum(1)
    found: np.ndarray = (sizes > 0) & (sizes < coalitions.shape[1])
    return found


def is_complete(game: Game) -> bool:
    """Return whether a game has all 2^U - 2 proper coalitions."""
    inside = game.coalitions[is_proper(game.coalitions)]
    needed: int = 2 ** len(game.players) - 2
    return len(inside) >= needed == len(np.unique(inside, axis=0))


def drawn_in_pairs(game: Game) -> int | None:
    """Return 2, as coalitions were drawn with their complements; None where all are there."""
    return None if is_complete(game) else 2


def cells(coalitions: np.ndarray) -> np.ndarray:
    """Return a number for each coalition, int [M], the same for equal ones.

    Example:
        >>> cells(np.array([[True, False], [False, True], [True, False]])).tolist()
        [1, 0, 1]
    """
    _, found = np.unique(coalitions, axis=0, return_inverse=True)
    numbered: np.ndarray = found.reshape(-1)
    return numbered


def values_of(game: Game, wanted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the mean value of each wanted coalition over its repeats; NaN where it wasn't measured.

    Args:
        game: Game with M coalitions.
        wanted: Coalitions, bool [K, U].
        weights: Multiplicities of the game's coalitions, [M]; 1 by default.

    Returns:
        Values, float64 [K, B].

    Example:
        >>> rows = np.array([[True, False], [True, False]])
        >>> game = Game(("a", "b"), ("value",), rows, np.array([[1.0], [2.0]]), np.zeros(1), np.ones(1))
        >>> values_of(game, np.array([[True, False], [False, True]])).tolist()
        [[1.5], [nan]]
    """
    given = multiplicities(game, weights)
    cell = cells(np.concatenate([game.coalitions, wanted]))
    there, asked = cell[: len(given)], cell[len(given) :]
    totals = np.bincount(there, given, minlength=cell.max(initial=0) + 1)
    sums = np.zeros((len(totals), len(game.none)))
    np.add.at(sums, there, given[:, None] * game.values)
    found = np.full((len(wanted), len(game.none)), np.nan)
    known = totals[asked] > 0
    found[known] = sums[asked[known]] / totals[asked[known], None]
    return found
