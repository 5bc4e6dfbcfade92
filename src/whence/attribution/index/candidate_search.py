"""Approximate search of the largest inner products by FAISS: it names candidates, which are then scored exactly.

Vectors come from a whitening, so their first columns vary most. Quantised to 4 bits for every two of the first d
columns (product quantisation; André et al. 2017, "Accelerated nearest neighbor search with Quick ADC"), a vector takes
d / 4 bytes, and a look at all of them takes milliseconds. Lists of an inverted file help little here: in a kernel's
metric the vectors point nearly everywhere, so the largest inner products are in many lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whence import artefacts
from whence.errors import ArtefactError, ConfigError
from whence.lazy import faiss

if TYPE_CHECKING:
    from torch import Tensor

#: Up to so many vectors are compared as they are.
FLAT = 20_000
#: The first columns make up this share of the variance of inner products.
SHARE = 0.995
#: Columns are taken in multiples of so many.
COLUMNS = 32


def require_faiss() -> None:
    """Check that FAISS is installed.

    Raises:
        ConfigError: It is not.
    """
    try:
        import faiss as _  # noqa: F401
    except ImportError:
        raise ConfigError("An index needs FAISS, which is not installed: pip install 'whence[index]'.") from None


def leading_columns(variances: Tensor) -> int:
    """Return how many of the first columns, of variances v_i [p], make up nearly all of Σ v_i², a multiple of 32.

    Σ v_i² is the variance of the inner product of two vectors whose columns are uncorrelated.

    Example:
        >>> import torch
        >>> leading_columns(torch.tensor([1.0] * 40 + [0.01] * 60)), leading_columns(torch.ones(7))
        (64, 7)
    """
    squares = variances.double().square()
    total = float(squares.sum())
    enough = int((squares.cumsum(0) < SHARE * total).sum()) + 1 if total else 1
    return min(-(-enough // COLUMNS), len(squares) // COLUMNS) * COLUMNS or len(squares)


def default_factory(count: int, columns: int) -> str:
    """Return FAISS's name of the index for so many vectors: as they are, or quantised.

    Example:
        >>> default_factory(1500, 512), default_factory(1_000_000, 512)
        ('Flat', 'PQ256x4fs')
    """
    return "Flat" if count <= FLAT or columns < COLUMNS else f"PQ{columns // 2}x4fs"


@dataclass(frozen=True, eq=False)
class CandidateSearch:
    """A FAISS index of the first columns of vectors.

    Attributes:
        index: The index.
        columns: Number of columns, d.
        probes: Lists that are looked at, of an inverted file; other indices look at all.
    """

    index: Any
    columns: int
    probes: int | None = None

    @classmethod
    def train(
        cls, factory: str, sample: np.ndarray, blocks: Iterable[np.ndarray], probes: int | None
    ) -> CandidateSearch:
        """Return the index of a factory string, trained on a sample [m, d], with all blocks of vectors [n, d] in it.

        Raises:
            ConfigError: FAISS refuses the factory string or the vectors.
        """
        require_faiss()
        columns = sample.shape[1]
        try:
            index = faiss.index_factory(columns, factory, faiss.METRIC_INNER_PRODUCT)
            index.train(sample)
            for block in blocks:
                index.add(block)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ConfigError(
                f"FAISS can't make {factory!r} of {columns} columns from {len(sample):,} examples: {reason}"
            ) from None
        return cls(index, columns, probes)

    def write(self, path: Path) -> None:
        """Write the index into a file.

        Raises:
            ArtefactError: FAISS can't write it, as where the disk is full.
        """
        with artefacts.replacing(path) as temporary:
            try:
                faiss.write_index(self.index, str(temporary))
            except RuntimeError as error:
                raise ArtefactError(f"{path} can't be written: {str(error).strip().splitlines()[-1]}.") from None

    @classmethod
    def read(cls, path: Path, columns: int, probes: int | None) -> CandidateSearch:
        """Return the index in a file, mapped from disk where FAISS can do that.

        Raises:
            ArtefactError: FAISS can't read it.
        """
        require_faiss()
        try:
            return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP), columns, probes)
        except RuntimeError as error:
            raise ArtefactError(f"{path} is damaged: {str(error).strip().splitlines()[-1]}.") from None

    def __call__(self, query: np.ndarray, count: int) -> np.ndarray:
        """Return the places of `count` candidates, or of as many as there are, of a vector [p], int64, best first."""
        settings = {}
        if self.lists_searched:
            settings["params"] = parameters = faiss.SearchParametersIVF()
            parameters.nprobe = self.lists_searched
        columns = np.ascontiguousarray(query[None, : self.columns], dtype=np.float32)
        _, places = self.index.search(columns, min(count, self.index.ntotal), **settings)
        found: np.ndarray = places[0][places[0] >= 0]
        return found

    @property
    def lists_searched(self) -> int:
        """Number of lists that are looked at; 0 where there are no lists."""
        lists = self._lists
        return 0 if lists is None else min(lists, self.probes or -(-lists // 8))

    @property
    def _lists(self) -> int | None:
        """Number of lists of an inverted file; None for other indices."""
        index = faiss.downcast_index(self.index)
        return int(index.nlist) if isinstance(index, faiss.IndexIVF) else None
