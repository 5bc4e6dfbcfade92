"""A game: the values v(S) of coalitions of contributors, from which estimators compute shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whence import artefacts
from whence.errors import ConfigError, DataError, NotFiniteError
from whence.lazy import torch


@dataclass(frozen=True, eq=False)
class Game:
    """Values of M coalitions of U players, for B behaviours.

    Attributes:
        players: Names, U.
        behaviours: Names, B.
        coalitions: Who is in each coalition, bool [M, U]; a coalition may be there several times.
        values: v(S) of each, float64 [M, B]; larger is more of the behaviour.
        none: v(∅), the behaviour without anybody, float64 [B].
        all: v of everybody, float64 [B].

    Example:
        >>> worth = np.array([3.0, 1.0])
        >>> game = Game.of_function(("a", "b"), np.array([[True, False], [False, True]]), lambda inside: inside @ worth)
        >>> game.values.tolist(), game.none.tolist(), game.all.tolist()
        ([[3.0], [1.0]], [0.0], [4.0])
    """

    players: tuple[str, ...]
    behaviours: tuple[str, ...]
    coalitions: np.ndarray
    values: np.ndarray
    none: np.ndarray
    all: np.ndarray

    def __post_init__(self) -> None:
        """Check that shapes fit each other, or raise DataError, and that values are finite, or raise NotFiniteError."""
        m, u, b = len(self.coalitions), len(self.players), len(self.behaviours)
        shapes = {"coalitions": (m, u), "values": (m, b), "none": (b,), "all": (b,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise DataError(f"{name} of a game of {u} players is {getattr(self, name).shape}, expected {shape}.")
        if self.coalitions.dtype != bool:
            raise DataError(f"Coalitions are bool, given {self.coalitions.dtype}.")
        for name in ("values", "none", "all"):
            if not np.isfinite(getattr(self, name)).all():
                raise NotFiniteError(f"A value of a coalition is not finite ({name}); look at the models it was of.")

    @classmethod
    def of_function(
        cls, players: Sequence[str], coalitions: np.ndarray, function: Callable[[np.ndarray], float | np.ndarray]
    ) -> Game:
        """Return a game whose values are a function of a coalition, bool [U], to a number or several."""
        u = len(players)
        rows = [np.atleast_1d(np.asarray(function(row), float)) for row in coalitions]
        none, everybody = (np.atleast_1d(np.asarray(function(np.full(u, inside)), float)) for inside in (False, True))
        names = tuple(f"value {b}" if len(none) > 1 else "value" for b in range(len(none)))
        return cls(tuple(players), names, coalitions, np.reshape(rows, (-1, len(none))), none, everybody)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return coalitions and values, for a file."""
        names = ("coalitions", "values", "none", "all")
        return {name: artefacts.to_tensor(getattr(self, name)) for name in names}

    def select(self, rows: np.ndarray) -> Game:
        """Return the same game with some of the coalitions."""
        return Game(self.players, self.behaviours, self.coalitions[rows], self.values[rows], self.none, self.all)


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
    """Return a number for each coalition, int [M], the same for equal ones."""
    _, inverse = np.unique(coalitions, axis=0, return_inverse=True)
    numbers: np.ndarray = inverse.reshape(-1)
    return numbers


def values_of(game: Game, coalitions: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the mean value [K, B] of coalitions [K, U] over their (weighted) repeats in a game; NaN without any.

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
