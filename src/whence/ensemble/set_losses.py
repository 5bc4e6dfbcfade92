"""Losses of sets of members: what a way to combine members gives, and all that follows from it in `Losses`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from torch import Tensor


class SetLosses(Protocol):
    """Losses of sets of members on Q pictures, for one way to combine members; a set is a row of bool [k, M]."""

    @property
    def counts(self) -> Tensor:
        """Draws in each group of draws, float64 [G]."""

    @property
    def what_draws(self) -> str:
        """What draws without a unit, for estimands."""

    def of(self, sets: Tensor) -> Tensor:
        """Return the losses of sets, float64 [Q, k]."""

    def expected(self, left: Tensor) -> Tensor:
        """Return the mean loss of left[k] members without any unit in particular, float64 [Q, k]."""

    def placebos(self, removed: int, left: int, count: int) -> Tensor:
        """Return the members that up to `count` ablations of `removed` words of no unit leave, bool [P, M]."""

    def at(self, picture: int) -> Self:
        """The losses of one picture, Q = 1."""

    def of_draws(self, groups: Sequence[int]) -> Self:
        """The losses by the draws of some groups alone."""


def loss_increases(losses: SetLosses, sets: Tensor) -> Tensor:
    """Return the losses of sets minus the mean loss of as many members, float64 [Q, k]."""
    return losses.of(sets) - losses.expected(sets.sum(1))
