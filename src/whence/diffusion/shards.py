"""Shards: the rows of a tensor that may be larger than memory, in several files that are mapped from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence import artefacts

#: Rows of a shard. It is a multiple of the canonical batches of encoders, so shards change no batch.
ROWS = 512


@dataclass(frozen=True, eq=False)
class Shards:
    """A tensor [N, ...] in parts.

    Attributes:
        parts: The parts, each with some rows; a part that is mapped from disk takes no memory.
        chosen: Which row of all parts each row is, int64 [N]; None for all of them in their order.

    Example:
        >>> shards = Shards((torch.tensor([1.0, 2.0]), torch.tensor([3.0])))
        >>> shards[[2, 0]].tolist(), shards.select(torch.tensor([1, 2]))[[1, 1]].tolist(), shards.shape
        ([3.0, 1.0], [3.0, 3.0], torch.Size([3]))
    """

    parts: tuple[Tensor, ...]
    chosen: Tensor | None = None

    def __len__(self) -> int:
        return int(self._starts[-1]) if self.chosen is None else len(self.chosen)

    @property
    def shape(self) -> torch.Size:
        """[N, ...]."""
        return torch.Size((len(self), *self.parts[0].shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """The type of its values."""
        return self.parts[0].dtype

    @cached_property
    def _starts(self) -> Tensor:
        """First row of each part, and the number of rows of all of them."""
        return torch.tensor([0, *(len(part) for part in self.parts)]).cumsum(0)

    def __getitem__(self, rows: Tensor | Sequence[int] | np.ndarray) -> Tensor:
        """Return some rows, in memory."""
        at = torch.as_tensor(rows)
        at = at if self.chosen is None else self.chosen[at]
        if len(self.parts) == 1:
            return self.parts[0][at]
        found = torch.empty((len(at), *self.shape[1:]), dtype=self.dtype)
        numbers = torch.searchsorted(self._starts, at, right=True) - 1
        for number in sorted(set(numbers.tolist())):
            mask = numbers == number
            found[mask] = self.parts[number][at[mask] - self._starts[number]]
        return found

    def select(self, rows: Tensor) -> Shards:
        """Return some rows; nothing is read."""
        return Shards(self.parts, rows if self.chosen is None else self.chosen[rows])

    def blocks(self) -> Iterator[Tensor]:
        """Yield all rows, in their order, a few at a time."""
        for first in range(0, len(self), ROWS):
            yield self[torch.arange(first, min(first + ROWS, len(self)))]


def write_shards(folder: Path, count: int, make: Callable[[range], Mapping[str, Tensor]]) -> None:
    """Write so many rows as shards; those that an interrupted call wrote are kept.

    Args:
        folder: Where the shards are, ``00000.safetensors`` and so on.
        count: Number of rows.
        make: Returns the tensors of a range of rows by name; it has the rows of one shard in memory.
    """
    for number, first in enumerate(range(0, count, ROWS)):
        file = artefacts.numbered_file(folder, number)
        if not file.exists():
            artefacts.write_tensors(file, make(range(first, min(first + ROWS, count))))


def read_shards(folder: Path) -> dict[str, Shards]:
    """Return what `write_shards` wrote, by name, mapped from disk; nothing where the folder does not exist."""
    files = [artefacts.read_tensors(file) for file in artefacts.numbered_files(folder)]
    return {name: Shards(tuple(file[name] for file in files)) for name in (files[0] if files else ())}
