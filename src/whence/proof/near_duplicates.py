"""Near-duplicates that remain: training images that look like those of the removed units, and that survivors saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from whence.data import Dataset
from whence.proof.document import StrictModel
from whence.proof.root import EnsembleTrees

#: Images listed for each image of the units. All identical images are listed.
NEAREST = 3
#: Pixels of training images that are held as floats at a time.
CHUNK = 2**23


class NearDuplicate(StrictModel):
    """A training image that some survivor saw, and the image of the units that it looks like.

    Attributes:
        of: Id of the units' image.
        id: Id of the training image.
        distance: Euclidean distance between them, pixels in [0, 1]; exact up to the last rounding.
        identical: Whether they are the same to the last pixel.
    """

    of: str
    id: str
    distance: float
    identical: bool


def training_rows(trees: EnsembleTrees, members: Sequence[int]) -> np.ndarray:
    """Indices of the training examples that at least one of the members trained on, ascending."""
    rows = [trees.ensemble.codebook.examples(member, trees.data) for member in members]
    return np.unique(np.concatenate(rows))


def near_duplicates(data: Dataset, units: Sequence[str], rows: np.ndarray) -> tuple[NearDuplicate, ...]:
    """Return for every image of the units the `NEAREST` other images by pixels, and all identical ones.

    Args:
        data: The training examples.
        units: The removed units.
        rows: Indices of the examples that survivors trained on; none of them belongs to the units.

    Returns:
        Pairs, by image of the units in the order of the data, nearest first, ties by id.

    Example:
        >>> pixels = np.array([0, 0, 255, 51], np.uint8).reshape(4, 1, 1, 1)
        >>> data = Dataset(("a", "b", "c", "d"), pixels, (("u",), ("v",), ("v",), ("v",)), (None,) * 4)
        >>> [(duplicate.id, duplicate.distance) for duplicate in near_duplicates(data, ["u"], np.array([1, 2, 3]))]
        [('b', 0.0), ('d', 0.2), ('c', 1.0)]
    """
    removed = np.unique(np.concatenate([data.examples_of(unit) for unit in units]))
    nearest: dict[int, list[tuple[int, str]]] = {int(n): [] for n in removed}
    for block, squares in _squared_distances(data, removed, rows):
        for n, line in zip(removed.tolist(), squares.tolist(), strict=True):
            candidates = [(int(square), data.ids[row]) for square, row in zip(line, block, strict=True)]
            nearest[n] = _nearest(nearest[n] + candidates)
    return tuple(
        NearDuplicate(of=data.ids[n], id=id, distance=math.sqrt(square) / 255, identical=square == 0)
        for n, pairs in nearest.items()
        for square, id in pairs
    )


def _nearest(pairs: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [pair for k, pair in enumerate(sorted(pairs)) if k < NEAREST or pair[0] == 0]


def _squared_distances(data: Dataset, removed: np.ndarray, rows: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield blocks of rows and their squared distances in grey levels, float64 [R, n]: whole numbers, hence exact."""
    few = data.pixels[removed].reshape(len(removed), -1).astype(np.float64)
    norms = (few**2).sum(axis=1)
    step = max(1, CHUNK // few.shape[1])
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        many = data.pixels[block].reshape(len(block), -1).astype(np.float64)
        yield block.tolist(), norms[:, None] + (many**2).sum(axis=1) - 2 * few @ many.T
