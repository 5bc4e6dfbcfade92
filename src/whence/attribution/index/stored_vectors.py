"""Vectors of all examples on disk, in files of equal numbers of rows, and a check sum of every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from whence import artefacts
from whence.errors import ArtefactError

#: Numbers in a file.
VALUES = 2**25


def shard_rows(width: int) -> int:
    """Return the number of vectors in a file."""
    return max(1, VALUES // width)


def check_sums(rows: np.ndarray) -> np.ndarray:
    """Return a check sum of each row of float32 [n, p], int64: the sum of its words. One changed bit changes it.

    Example:
        >>> check_sums(np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)).tolist()
        [0, 1065353216]
    """
    sums: np.ndarray = np.ascontiguousarray(rows).view(np.uint32).sum(1, dtype=np.int64)
    return sums


def write_vectors(folder: Path, blocks: Iterable[torch.Tensor], width: int) -> np.ndarray:
    """Write vectors [N, p], which come in blocks of any size, and return the check sums [N]."""
    waiting: list[torch.Tensor] = []
    sums: list[np.ndarray] = []
    rows = shard_rows(width)

    def write(vectors: torch.Tensor) -> None:
        artefacts.write_tensors(artefacts.numbered_file(folder, len(sums)), {"vectors": vectors})
        sums.append(check_sums(vectors.numpy()))

    for block in blocks:
        waiting.append(block.float())
        if sum(map(len, waiting)) >= rows:
            full = torch.cat(waiting)
            write(full[:rows].clone())
            waiting = [full[rows:].clone()]
    if sum(map(len, waiting)):
        write(torch.cat(waiting))
    return np.concatenate(sums)


@dataclass(frozen=True, eq=False)
class StoredVectors:
    """The vectors in a folder, mapped from disk.

    Attributes:
        folder: The folder.
        sums: The check sum of every vector, int64 [N].
    """

    folder: Path
    sums: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def _files(self) -> list[Path]:
        return artefacts.numbered_files(self.folder)

    @cached_property
    def _shards(self) -> list[np.ndarray]:
        shards = [artefacts.read_arrays(file)["vectors"] for file in self._files]
        if sum(map(len, shards)) != len(self):
            raise ArtefactError(f"{self.folder} has {sum(map(len, shards)):,} vectors of {len(self):,}. Make it again.")
        return shards

    @property
    def width(self) -> int:
        """Number of columns, p."""
        return int(self._shards[0].shape[1])

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the vectors of one file after the other, float32 [n, p]; only one is mapped at a time."""
        for file in self._files:
            yield artefacts.read_arrays(file)["vectors"]

    def sample(self, count: int) -> np.ndarray:
        """Return about `count` vectors, evenly spread over all, float32 [m, p]."""
        return self.rows(np.arange(0, len(self), max(1, len(self) // count)))

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Return the vectors at some places, float32 [n, p], after a check of each.

        Raises:
            ArtefactError: One is not the vector that was written.
        """
        size = len(self._shards[0])
        vectors = np.empty((len(places), self.width), np.float32)
        for number in np.unique(places // size):
            chosen = places // size == number
            vectors[chosen] = self._shards[number][places[chosen] % size]
        if not np.array_equal(check_sums(vectors), self.sums[places]):
            raise ArtefactError(f"{self.folder} is damaged: a vector has another check sum. Make the index again.")
        return vectors

    def largest(self, query: np.ndarray, places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the `count` of some places with the largest inner products with a vector [p], and these, float64.

        All are compared in float32, and twice as many as are returned again in float64; ties by place.
        """
        vectors = self.rows(places)
        first = np.argpartition(-(vectors @ query.astype(np.float32)), min(2 * count, len(places)) - 1)[: 2 * count]
        exact = vectors[first].astype(np.float64) @ query
        order = np.lexsort((places[first], -exact))[:count]
        return places[first][order], exact[order]
