"""Scores of units from scores of examples that come in blocks: sums, or the largest of each unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Self

import numpy as np

from whence.data.own_units import OwnUnits
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Membership:
    """Which units each of N examples belongs to, in arrays of a few bytes for each.

    Attributes:
        names: The U units, in order of their first appearance.
        starts: Where the units of each example begin in `numbers`, int64 [N + 1].
        numbers: The units of one example after the other, by their place among the names, int64.

    Example:
        >>> membership = Membership.of((("anna",), ("anna", "ben")))
        >>> membership.names, [part.tolist() for part in membership.entries(torch.tensor([1]))]
        (('anna', 'ben'), [[0, 0], [0, 1]])
    """

    names: tuple[str, ...]
    starts: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, units: Sequence[Sequence[str]]) -> Self:
        """Return the membership of examples with these units."""
        places: dict[str, int] = {}
        counts = np.fromiter((len(dict.fromkeys(names)) for names in units), np.int64, len(units))
        flat = (places.setdefault(name, len(places)) for names in units for name in dict.fromkeys(names))
        numbers = np.fromiter(flat, np.int64, int(counts.sum()))
        starts = np.concatenate([[0], counts.cumsum()])
        return cls(tuple(places), torch.from_numpy(starts), torch.from_numpy(numbers))

    @property
    def sizes(self) -> list[int]:
        """The number of examples of each unit, U."""
        return torch.bincount(self.numbers, minlength=len(self.names)).tolist()

    def entries(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return all pairs of one of some examples and a unit of it: place among the positions, and unit, int64 [e]."""
        counts = self.starts[positions + 1] - self.starts[positions]
        rows = torch.repeat_interleave(torch.arange(len(positions)), counts)
        within = torch.arange(len(rows)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        return rows, self.numbers[self.starts[positions][rows] + within]


def are_examples(units: Sequence[Sequence[str]]) -> bool:
    """Return whether each unit is one example, and each example one unit.

    Example:
        >>> are_examples((("a",), ("b",))), are_examples((("a",), ("a",))), are_examples((("a", "b"),))
        (True, False, False)
    """
    if isinstance(units, OwnUnits):  # ids differ
        return True
    if any(len(names) != 1 for names in units):
        return False
    return len(set(chain.from_iterable(units))) == len(units)


class UnitSums:
    """The sum of the scores of the examples of every unit, float64 [Q, U]; an example counts for each of its units."""

    def __init__(self, queries: int, membership: Membership) -> None:
        self._membership = membership
        self.values = torch.zeros(queries, len(membership.names), dtype=torch.float64)

    def add(self, scores: Tensor, positions: Tensor) -> None:
        """Add scores [Q, n] of the examples at some positions [n]."""
        rows, units = self._membership.entries(positions)
        self.values.index_add_(1, units, scores.double()[:, rows])


class UnitLargest:
    """The largest score of the examples of every unit, float64 [Q, U], and where that example is, int64 [Q, U]."""

    def __init__(self, queries: int, membership: Membership) -> None:
        self._membership = membership
        self.values = torch.full((queries, len(membership.names)), -torch.inf, dtype=torch.float64)
        self.positions = torch.zeros(self.values.shape, dtype=torch.int64)

    def add(self, scores: Tensor, positions: Tensor) -> None:
        """Add scores [Q, n] of the examples at some positions [n]; of equal ones the lowest position stays."""
        rows, units = self._membership.entries(positions)
        values, own = scores.double()[:, rows], positions[rows].expand(len(scores), -1)
        at = units.expand(len(scores), -1)
        most = self.values.scatter_reduce(1, at, values, "amax")
        last = torch.iinfo(torch.int64).max
        kept = self.positions.masked_fill(self.values < most, last)
        candidates = own.masked_fill(values < most.gather(1, at), last)
        self.values, self.positions = most, kept.scatter_reduce(1, at, candidates, "amin")
