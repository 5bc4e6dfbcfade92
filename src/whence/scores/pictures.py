"""The pictures of queries and training examples, by id, as tables and notebooks show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.data import Dataset
from whence.errors import DataError
from whence.ragged import Ragged, rows_in

#: Folder of pictures beside the scores of the methods of a request.
FOLDER = "pictures"


@dataclass(frozen=True, eq=False)
class NamedPictures:
    """Pictures by their ids: uint8 [n, C, H, W], or float32 in [-1, 1]; `Ragged` of several shapes.

    Example:
        >>> pictures = NamedPictures(("a",), np.ones((1, 1, 2, 2), np.float32))
        >>> pictures.get("a").max().item(), pictures.get("b")
        (255, None)
    """

    ids: Sequence[str] = ()
    values: np.ndarray | Ragged = field(default_factory=lambda: np.zeros((0, 1, 1, 1), np.uint8))

    def __post_init__(self) -> None:
        """Check that there are as many pictures as ids.

        Raises:
            DataError: There are not, or they are no pictures.
        """
        parts = self.values.parts if isinstance(self.values, Ragged) else (self.values,)
        if len(self.ids) != len(self.values) or any(part.ndim != 4 for part in parts):
            given = ", ".join(str(part.shape) for part in parts)
            raise DataError(f"{len(self.ids)} ids need as many pictures [n, C, H, W]; given {given}.")

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id: n for n, id in enumerate(self.ids)}

    def get(self, id: str) -> np.ndarray | None:
        """Return a picture, uint8 [C, H, W]; None where it is not known."""
        if id not in self._places:
            return None
        values: np.ndarray = self.values[self._places[id]]
        if values.dtype != np.uint8:
            values = ((values.clip(-1, 1) + 1) * np.float32(127.5)).round().astype(np.uint8)
        return values


@dataclass(frozen=True, eq=False)
class ScorePictures:
    """The pictures that are known beside scores."""

    queries: NamedPictures = field(default_factory=NamedPictures)
    examples: NamedPictures = field(default_factory=NamedPictures)

    @classmethod
    def of(cls, data: Dataset | None, queries: Dataset | None = None) -> ScorePictures:
        """Return the pictures of data sets: of the training examples, and of the queries."""
        both = (NamedPictures() if one is None else NamedPictures(one.ids, one.pixels) for one in (queries, data))
        return cls(*both)

    @classmethod
    def beside(cls, scores: Path) -> ScorePictures | None:
        """Return the pictures that `whence attribute` kept beside the scores of a method; None where there are none.

        Raises:
            ArtefactError: They are damaged.
        """
        folder = scores.parent / FOLDER
        return cls.read(folder) if (folder / artefacts.MANIFEST).exists() else None

    @classmethod
    @artefacts.reader
    def read(cls, folder: Path) -> ScorePictures:
        """Return the pictures in a folder, checked by hash.

        Raises:
            ArtefactError: They are missing or damaged.
        """
        artefacts.read_verified(folder, "pictures")
        return cls(*(_named(folder, name) for name in ("queries", "examples")))


def _named(folder: Path, name: str) -> NamedPictures:
    ids = artefacts.read_table(folder / f"{name}.parquet")["id"]
    return NamedPictures(tuple(ids), rows_in("pictures", artefacts.read_arrays(folder / f"{name}.safetensors")))
