"""The tally of a method: what is kept of its scores while they come in blocks of examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

from whence.lazy import torch
from whence.scores.heap import TopHeap
from whence.scores.jackknife import Jackknife
from whence.scores.unit_totals import Membership, UnitLargest, UnitSums

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(eq=False)
class Tally:
    """The ends of the scores [Q, N] of a method and its sums over units, in memory that does not grow with N.

    First all blocks of scores from all draws are added; then, for the standard errors, all blocks without each group of
    draws, of which only the examples that stayed count, and sums.

    Attributes:
        largest: The K largest scores of each query.
        smallest: The K smallest ones; None of an unsigned method.
        sums: Sums over units; None where the scores don't add up, or where each example is a unit by itself.
        most: The largest scores of units, where scores don't add up; None otherwise.
        membership: The units of all examples; None where each example is a unit by itself.
    """

    largest: TopHeap
    smallest: TopHeap | None
    sums: UnitSums | None
    most: UnitLargest | None
    membership: Membership | None
    _sums_without: dict[int, UnitSums] = field(default_factory=dict)

    @classmethod
    def of(cls, queries: int, top: int, membership: Membership | None, *, signed: bool, additive: bool) -> Self:
        """Return the tally of no examples yet; `membership` is None where each example is a unit by itself."""
        sums = UnitSums(queries, membership) if membership is not None and additive else None
        most = UnitLargest(queries, membership) if membership is not None and not additive else None
        smallest = TopHeap(queries, top, smallest=True) if signed else None
        return cls(TopHeap(queries, top), smallest, sums, most, membership)

    def add(self, scores: Tensor, positions: Tensor) -> None:
        """Add scores [Q, n] from all draws, of the examples at some positions [n]."""
        for part in (self.largest, self.smallest, self.sums, self.most):
            if part is not None:
                part.add(scores, positions)

    @cached_property
    def _kept(self) -> tuple[Tensor, Jackknife]:
        """Where the examples that stayed are, int64 [Q, S], and their scores; when all blocks were added."""
        parts = [part for part in (self.largest, self.smallest, self.most) if part is not None]
        return torch.cat([part.positions for part in parts], 1), Jackknife.of(torch.cat([p.values for p in parts], 1))

    def wants(self, positions: Tensor) -> bool:
        """Return whether scores without a group of draws matter of any example at some positions."""
        return self.sums is not None or bool(torch.isin(self._kept[0], positions).any())

    def add_without(self, group: int, scores: Tensor, positions: Tensor) -> None:
        """Add scores [Q, n] of one term without a group of draws, of the examples at some positions [n]."""
        kept, errors = self._kept
        ordered, order = positions.sort()
        at = torch.searchsorted(ordered, kept).clamp(max=len(positions) - 1)
        found = scores.double().gather(1, order[at])
        errors.add(group, found.masked_fill(ordered[at] != kept, 0.0))
        if self.sums is not None and self.membership is not None:
            own = self._sums_without.setdefault(group, UnitSums(len(scores), self.membership))
            own.add(scores, positions)

    def errors(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the standard errors of the largest and smallest scores, and of the units, as they are kept."""
        error = self._kept[1].standard_error()
        sizes = [0 if part is None else part.positions.shape[1] for part in (self.largest, self.smallest, self.most)]
        first, last, units = torch.split(error, sizes, 1)
        if self.sums is not None:
            without = Jackknife.of(self.sums.values)
            for group, sums in self._sums_without.items():
                without.add(group, sums.values)
            units = without.standard_error()
        grouped = self.sums is not None or self.most is not None
        return first, None if self.smallest is None else last, units if grouped else None
