"""Estimator: how shares are computed from a game, and which coalitions that needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whence.credit.game import Game


class Coalitions(Protocol):
    """Which coalitions to measure, bool [M, U]."""

    def __call__(self, players: int, count: int, seed: int) -> np.ndarray:
        """Return at most `count` coalitions of U players, or those it always needs."""


class Shares(Protocol):
    """The shares of a game, float64 [B, U]."""

    def __call__(self, game: Game, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the shares; weights [M] say how often each coalition counts (once)."""


@dataclass(frozen=True)
class Estimator:
    """An estimator of shares.

    Attributes:
        name: As on the command line.
        title: In words.
        paper: Where it is from.
        efficient: Whether shares add up to v(all) - v(∅) by construction.
        coalitions: The coalitions it needs, (players, count, seed) -> bool [M, U].
        shares: The shares, (game, weights) -> float64 [B, U], linear in the values of the game. Weights [M] are
            multiplicities, not below 0; where a game has all coalitions, they only weigh repeats of the same coalition.
        drawn: How many rows of a game, one after another, were drawn as one; None where the coalitions of the game are
            no draw (all that there are, or always the same), so that shares are off only because values are.
    """

    name: str
    title: str
    paper: str
    efficient: bool
    coalitions: Coalitions
    shares: Shares
    drawn: Callable[[Game], int | None]
