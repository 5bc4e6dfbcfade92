"""Near-duplicates that remain: training images like those of the removed units, which the survivors did see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from whence.data import Dataset
from whence.proof.documents import Strict
from whence.proof.root import Committed

#: Images listed for each image of the units; identical ones are listed all.
NEAREST = 3
#: Pixels of training images that are held as floats at a time.
CHUNK = 2**23


class Near(Strict):
    """A training image that some survivor saw, beside one of the units that it looks like.

    Attributes:
        of: Id of the units' image.
        id: Id of the other.
        distance: Euclidean distance, pixels in [0, 1]; exact up to the last rounding.
        identical: Whether they are the same to the last pixel.
    """

    of: str
    id: str
    distance: float
    identical: bool


def rows_seen(committed: Committed, members: Sequence[int]) -> np.ndarray:
    """Indices of the training examples that at least one of the members trained on, ascending."""
    seen = [committed.ensemble.codebook.examples(member, committed.data) for member in members]
    return np.unique(np.concatenate(seen))


def near_duplicates(data: Dataset, units: Sequence[str], seen: np.ndarray) -> tuple[Near, ...]:
    """Return for every image of the units the `NEAREST` of the others by pixels, and all that are identical.

    Args:
        data: The training examples.
        units: The removed units.
        seen: Indices of the examples that survivors trained on; none of the units.

    Returns:
        Pairs, by image of the units in the order of the data, nearest first, ties by id.

    Example:
        >>> pixels = np.array([0, 0, 255, 51], np.uint8).reshape(4, 1, 1, 1)
        >>> data = Dataset(("a", "b", "c", "d"), pixels, (("u",), ("v",), ("v",), ("v",)), (None,) * 4)
        >>> [(one.id, one.distance) for one in near_duplicates(data, ["u"], np.array([1, 2, 3]))]
        [('b', 0.0), ('d', 0.2), ('c', 1.0)]
    """
    removed = np.unique(np.concatenate([data.examples_of(unit) for unit in units]))
    best: dict[int, list[tuple[int, str]]] = {int(n): [] for n in removed}
    for rows, squares in _squared_distances(data, removed, seen):
        for n, line in zip(removed.tolist(), squares.tolist(), strict=True):
            found = best[n] + [(int(s), data.ids[row]) for s, row in zip(line, rows, strict=True)]
            best[n] = _nearest(found)
    return tuple(
        Near(of=data.ids[n], id=id, distance=math.sqrt(square) / 255, identical=square == 0)
        for n, found in best.items()
        for square, id in found
    )


def _nearest(found: list[tuple[int, str]]) -> list[tuple[int, str]]:
    ordered = sorted(found)
    return [pair for k, pair in enumerate(ordered) if k < NEAREST or pair[0] == 0]


def _squared_distances(data: Dataset, removed: np.ndarray, seen: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """Squared distances in grey levels, float64 [R, n], for some rows at a time: whole numbers, so exact anywhere."""
    few = data.pixels[removed].reshape(len(removed), -1).astype(np.float64)
    own = (few**2).sum(axis=1)
    step = max(1, CHUNK // few.shape[1])
    for start in range(0, len(seen), step):
        rows = seen[start : start + step]
        many = data.pixels[rows].reshape(len(rows), -1).astype(np.float64)
        yield rows.tolist(), own[:, None] + (many**2).sum(axis=1) - 2 * few @ many.T
