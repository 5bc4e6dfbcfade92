"""Pixels that are added row by row: in memory, or in a temporary file where there are many."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from typing import IO

import numpy as np

from whence.errors import DataError

#: From so many bytes on, pixels are kept in a temporary file that is mapped, and memory doesn't grow with their number.
LARGE = 2**28


class PixelRows:
    """Images of one shape, added one after another.

    A temporary file has no name, and its place is given back when the array is no longer used. Where temporary files
    are, the environment variable ``TMPDIR`` says.

    Example:
        >>> rows = PixelRows(2, (1, 1, 2))
        >>> rows.add(np.array([[[3, 4]]], np.uint8))
        >>> rows.array().tolist()
        [[[[3, 4]]]]
    """

    def __init__(self, most: int, shape: Sequence[int]) -> None:
        """Make room for at most so many images uint8 of one shape."""
        self.count, self.shape = 0, tuple(shape)
        large = most * math.prod(shape) > LARGE
        self._file: IO[bytes] | None = tempfile.TemporaryFile() if large else None  # noqa: SIM115
        self._array = np.empty((0 if large else most, *shape), np.uint8)

    def add(self, image: np.ndarray) -> None:
        """Add an image.

        Raises:
            DataError: The temporary file can't be written, as on a full disk.
        """
        if self._file is None:
            self._array[self.count] = image
        else:
            try:
                self._file.write(np.ascontiguousarray(image).data)
            except OSError as error:
                raise DataError(
                    f"The pixels don't fit into a temporary file in {tempfile.gettempdir()}: {error.strerror}. Name a "
                    "folder with more space in the environment variable TMPDIR."
                ) from None
        self.count += 1

    def array(self) -> np.ndarray:
        """Return all images that were added, uint8 [n, ...]; those of a file are mapped and can't be written to."""
        if self._file is None or not self.count:
            return self._array[: self.count]
        self._file.flush()
        mapped = np.memmap(self._file, np.uint8, mode="c", shape=(self.count, *self.shape))
        self._file.close()
        return mapped.view(np.ndarray)
