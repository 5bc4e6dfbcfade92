"""Pixels that are added row by row: in memory, or in a temporary file where there are many."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import IO

import numpy as np

from whence.data.temporary_space import temporary_space
from whence.ragged import Ragged, join_groups, places_by_shape

Shape = tuple[int, ...]
"""The shape of one image."""

#: From so many bytes on, pixels are kept in a temporary file that is mapped, and memory doesn't grow with their number.
LARGE = 2**23


class PixelRows:
    """Images that are added one after another: one array, or `Ragged` of several shapes.

    A temporary file has no name, and its place is given back when the array is no longer used. See `temporary_space`.

    Example:
        >>> rows = PixelRows([(1, 1, 2), (1, 1, 2)])
        >>> rows.add(np.array([[[3, 4]]], np.uint8))
        >>> rows.array().tolist()
        [[[[3, 4]]]]
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        """Make room for images uint8 of these shapes, at most."""
        large = sum(map(math.prod, shapes)) > LARGE
        self._parts = {shape: _Part(most, shape, large) for shape, most in Counter(shapes).items()}
        self._shapes: list[Shape] = []  # of each image, where there are several

    def add(self, image: np.ndarray) -> None:
        """Add an image.

        Raises:
            DataError: The temporary file can't be written, as on a full disk.
        """
        self._parts[image.shape].add(image)
        if len(self._parts) > 1:
            self._shapes.append(image.shape)

    def array(self) -> np.ndarray | Ragged:
        """Return all images that were added, uint8 [n, ...]; those of a file are mapped and can't be written to."""
        if len(self._parts) == 1:
            return next(iter(self._parts.values())).array()
        places = places_by_shape(self._shapes)
        parts = [self._parts[shape].array() for shape in places]
        joined: np.ndarray | Ragged = join_groups(parts, list(places.values()))
        return joined


class _Part:
    """The images of one shape, in memory or in a temporary file."""

    def __init__(self, most: int, shape: Shape, large: bool) -> None:
        self._count, self._shape = 0, shape
        self._file: IO[bytes] | None = tempfile.TemporaryFile() if large else None  # noqa: SIM115
        self._array = np.empty((0 if large else most, *shape), np.uint8)

    def add(self, image: np.ndarray) -> None:
        """Add an image."""
        if self._file is None:
            self._array[self._count] = image
        else:
            with temporary_space("pixels"):
                self._file.write(np.ascontiguousarray(image).data)
        self._count += 1

    def array(self) -> np.ndarray:
        """Return the images that were added."""
        if self._file is None:
            return self._array[: self._count]
        with temporary_space("pixels"):
            self._file.flush()
        mapped = np.memmap(self._file, np.uint8, mode="c", shape=(self._count, *self._shape))
        self._file.close()
        return mapped.view(np.ndarray)
