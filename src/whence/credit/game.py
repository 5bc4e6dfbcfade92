"""A game: the values v(S) of coalitions of contributors, from which estimators compute shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from whence import artefacts
from whence.errors import DataError, NotFiniteError


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
        """Check that everything fits.

        Raises:
            DataError: Shapes don't fit each other.
            NotFiniteError: A value is not finite.
        """
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
