"""The largest or smallest of scores that come in blocks of examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class TopHeap:
    """The K largest scores of each of Q queries, or the K smallest, of any number of examples that are added in blocks.

    They are those at the front, or at the end, of a stable sort of all scores in single precision in descending order,
    in whatever order the blocks come: of equal ones the examples with the lower positions come first, and last.

    Attributes:
        values: The scores, float64 [Q, k ≤ K], outermost first.
        positions: Where their examples are among all, int64 [Q, k].

    Example:
        >>> largest, smallest = TopHeap(1, 2), TopHeap(1, 2, smallest=True)
        >>> for positions in ([0, 1, 2], [3, 4]):
        ...     for heap in (largest, smallest):
        ...         heap.add(torch.tensor([[5.0, 1.0, 5.0, 5.0, 1.0]])[:, positions], torch.tensor(positions))
        >>> largest.positions.tolist(), smallest.positions.tolist()
        ([[0, 2]], [[4, 1]])
    """

    def __init__(self, queries: int, count: int, *, smallest: bool = False) -> None:
        self.values = torch.zeros(queries, 0, dtype=torch.float64)
        self.positions = torch.zeros(queries, 0, dtype=torch.int64)
        self._count, self._smallest = count, smallest

    def add(self, scores: Tensor, positions: Tensor) -> None:
        """Add scores [Q, n] of the examples at some positions [n]."""
        values = torch.cat([self.values, scores.double()], 1)
        places = torch.cat([self.positions, positions.expand(len(scores), -1)], 1)
        order = places.argsort(dim=1, descending=self._smallest)
        by_value = values.gather(1, order).float().argsort(dim=1, descending=not self._smallest, stable=True)
        kept = order.gather(1, by_value[:, : self._count])
        self.values, self.positions = values.gather(1, kept), places.gather(1, kept)
