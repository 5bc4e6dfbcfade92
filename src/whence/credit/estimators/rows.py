"""The rows of a game: which coalitions it has, how often, and their values."""

from __future__ import annotations

import numpy as np

from whence.credit.game import Game
from whence.errors import ConfigError, DataError


def multiplicities(game: Game, weights: np.ndarray | None) -> np.ndarray:
    """Return how often each coalition counts, float64 [M]; once by default.

    Raises:
        ConfigError: Weights have the wrong shape, or are negative or not finite.
    """
    counts = np.ones(len(game.coalitions)) if weights is None else np.asarray(weights, float)
    if counts.shape != (len(game.coalitions),) or not np.isfinite(counts).all() or (counts < 0).any():
        raise ConfigError(
            f"Weights of {len(game.coalitions)} coalitions are as many finite numbers, not below 0; "
            f"given {counts.size} of shape {counts.shape}."
        )
    return counts


def is_proper(coalitions: np.ndarray) -> np.ndarray:
    """Return which coalitions, bool [M, U], are neither nobody nor everybody, bool [M]."""
    sizes = coalitions.sum(1)
    proper: np.ndarray = (sizes > 0) & (sizes < coalitions.shape[1])
    return proper


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
    _, inverse = np.unique(coalitions, axis=0, return_inverse=True)
    numbers: np.ndarray = inverse.reshape(-1)
    return numbers


def values_of(game: Game, coalitions: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the mean value of some coalitions over their repeats in a game; NaN where one wasn't measured.

    Args:
        game: Game with M coalitions.
        coalitions: The coalitions, bool [K, U].
        weights: Multiplicities of the game's coalitions, [M]; 1 by default.

    Returns:
        Values, float64 [K, B].

    Example:
        >>> rows = np.array([[True, False], [True, False]])
        >>> game = Game(("a", "b"), ("value",), rows, np.array([[1.0], [2.0]]), np.zeros(1), np.ones(1))
        >>> values_of(game, np.array([[True, False], [False, True]])).tolist()
        [[1.5], [nan]]
    """
    counts = multiplicities(game, weights)
    cell = cells(np.concatenate([game.coalitions, coalitions]))
    measured, requested = cell[: len(counts)], cell[len(counts) :]
    totals = np.bincount(measured, counts, minlength=cell.max(initial=0) + 1)
    sums = np.zeros((len(totals), len(game.none)))
    np.add.at(sums, measured, counts[:, None] * game.values)
    means = np.full((len(coalitions), len(game.none)), np.nan)
    known = totals[requested] > 0
    means[known] = sums[requested[known]] / totals[requested[known], None]
    return means


def value_for_each(game: Game, coalitions: np.ndarray, weights: np.ndarray | None, word: str) -> np.ndarray:
    """Return the value of each contributor's coalition, the mean over its repeats.

    Args:
        game: Game of U players.
        coalitions: The coalition of each, bool [U, U].
        weights: Multiplicities of the game's coalitions, [M]; 1 by default.
        word: How the coalitions are called in the message, such as `without`.

    Returns:
        Values, float64 [U, B].

    Raises:
        DataError: A coalition was not measured.
    """
    values = values_of(game, coalitions, weights)
    missing = [name for name, row in zip(game.players, values, strict=True) if np.isnan(row).any()]
    if missing:
        raise DataError(
            f"The model {word} {missing[0]} was not measured ({len(missing)} of {len(coalitions)} such models are "
            "missing); measure the coalitions that this estimator asks for."
        )
    return values
