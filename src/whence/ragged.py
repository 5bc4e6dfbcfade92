"""Rows of several shapes, such as pictures in the buckets of a trainer, in parts of one shape each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from whence.errors import DataError, join_names

#: Name of the tensor on disk that says which part each row is in.
PART = "part"


@dataclass(frozen=True, eq=False)
class Ragged:
    """N rows, in parts of one shape each.

    What takes rows of one shape asks for `shape`, which is a `DataError` that says the way out.

    Attributes:
        parts: The rows of each part [n_k, ...]: arrays, tensors or shards, whose shapes differ.
        place: Which part each row is in, and which row of it, int64 [N, 2].

    Example:
        >>> rows = Ragged((np.zeros((2, 3)), np.ones((1, 4))), np.array([[0, 0], [1, 0], [0, 1]]))
        >>> len(rows), rows.shapes, rows[1].tolist(), rows[[0, 2]].shape
        (3, ((3,), (4,), (3,)), [1.0, 1.0, 1.0, 1.0], (2, 3))
    """

    parts: tuple[Any, ...]
    place: np.ndarray

    def __len__(self) -> int:
        return len(self.place)

    @property
    def dtype(self) -> Any:
        """The type of the values."""
        return self.parts[0].dtype

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each row."""
        of_part = [tuple(part.shape[1:]) for part in self.parts]
        return tuple(of_part[number] for number in self.place[:, 0].tolist())

    @property
    def shape(self) -> NoReturn:
        """There is no shape of all rows: a `DataError`."""
        raise DataError(
            f"The images have several shapes: {count_shapes(self.shapes)}. One shape is expected here. Give "
            "--resolution without --buckets, which crops and scales all of them to one square."
        )

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        return np.empty(self.shape)

    def __getitem__(self, rows: Any) -> Any:
        """Return one row; or several rows, by their numbers or a mask: as one array or tensor if they have one shape.

        Those of several shapes are `Ragged` again, and not copied.
        """
        place = self.place[rows if isinstance(rows, slice) else np.asarray(rows)]
        if place.ndim == 1:
            return self.parts[place[0]][int(place[1])]
        chosen = Ragged(self.parts, place).without_empty()
        return chosen.parts[0][chosen.place[:, 1]] if len(chosen.parts) == 1 else chosen

    def groups(self, rows: Any = None) -> list[np.ndarray]:
        """Return the positions of the rows of each shape, among all rows or some of them, in the order of shapes."""
        number = self.place[:, 0] if rows is None else self.place[np.asarray(rows), 0]
        found = sorted(set(number.tolist()), key=lambda one: tuple(self.parts[one].shape[1:]))
        return [np.flatnonzero(number == one) for one in found]

    def map(self, function: Callable[[Any], Any]) -> Ragged:
        """Return the rows with a function applied to each part, which keeps their number."""
        return Ragged(tuple(map(function, self.parts)), self.place)

    def without_empty(self) -> Ragged:
        """Return the same rows without the parts that none of them is in; nothing is copied."""
        used, number = np.unique(self.place[:, 0], return_inverse=True)
        return Ragged(tuple(self.parts[k] for k in used), np.stack([number, self.place[:, 1]], 1))

    def compact(self) -> Ragged:
        """Return the same rows in parts that hold them alone, in their order; parts of such kind are not copied."""
        parts, place = [], self.place.copy()
        for number, part in enumerate(self.parts):
            of_part = self.place[:, 0] == number
            at, order = self.place[of_part, 1], np.arange(int(of_part.sum()))
            parts.append(part if len(part) == len(at) and (at == order).all() else part[at])
            place[of_part, 1] = order
        return Ragged(tuple(parts), place).without_empty()


def _index(rows: np.ndarray) -> Any:
    """Return numbers of rows as shards take them."""
    from whence.lazy import torch

    return torch.from_numpy(rows)


def join_groups(parts: Sequence[Any], groups: Sequence[np.ndarray]) -> Any:
    """Return rows in parts of one shape, given the positions of each; a single part, in its order, stays as it is.

    Example:
        >>> rows = join_groups([np.zeros((1, 2)), np.ones((2, 3))], [np.array([1]), np.array([0, 2])])
        >>> [len(row) for row in rows]
        [3, 2, 3]
    """
    if len(parts) == 1:
        return parts[0]
    place = np.empty((sum(map(len, groups)), 2), np.int64)
    for number, group in enumerate(groups):
        place[group, 0], place[group, 1] = number, np.arange(len(group))
    return Ragged(tuple(parts), place)


def stack_rows(rows: Sequence[np.ndarray]) -> Any:
    """Return arrays as the rows of one, or as `Ragged` rows.

    Example:
        >>> stack_rows([np.zeros(2), np.ones(3)]).shapes, stack_rows([np.zeros(2), np.ones(2)]).shape
        (((2,), (3,)), (2, 2))
    """
    groups = list(places_by_shape([row.shape for row in rows]).values())
    return join_groups([np.stack([rows[n] for n in group]) for group in groups], groups)


def places_by_shape(shapes: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], np.ndarray]:
    """Return the positions of each shape among the shapes of rows, in the order of shapes."""
    found: dict[tuple[int, ...], list[int]] = {}
    for n, shape in enumerate(shapes):
        found.setdefault(shape, []).append(n)
    return {shape: np.array(found[shape]) for shape in sorted(found)}


def groups_of(rows: Any, chosen: Any = None) -> list[np.ndarray]:
    """Return the positions of rows of each shape: of `Ragged` several groups, of an array or tensor all in one."""
    if isinstance(rows, Ragged):
        return rows.groups(chosen)
    return [np.arange(len(rows if chosen is None else chosen))]


def count_shapes(shapes: Sequence[Sequence[int]]) -> str:
    """Return how many pictures (C, H, W) have each width and height, in words; the most frequent first.

    Example:
        >>> count_shapes([(3, 32, 64), (3, 64, 32), (3, 32, 64)]), count_shapes([(32, 64)] * 2)
        ('64x32 (2), 32x64 (1)', '64x32')
    """
    counts = Counter("x".join(map(str, reversed(shape[-2:]))) for shape in shapes)
    if len(counts) == 1:
        return next(iter(counts))
    return join_names([f"{name} ({count})" for name, count in counts.most_common()], most=5)


def tensors_of(name: str, rows: Any) -> dict[str, Any]:
    """Return the tensors on disk of rows by name: NAME itself, or of several shapes NAME/0, NAME/1 ... and NAME/part.

    The tensors NAME/k hold the rows of one shape, in their order; NAME/part says which of them each row is in.
    """
    if not isinstance(rows, Ragged):
        return {name: rows}
    compact = rows.compact()
    parts = {f"{name}/{number}": part for number, part in enumerate(compact.parts)}
    return parts | {f"{name}/{PART}": _index(compact.place[:, 0].copy())}


def rows_in(name: str, tensors: Mapping[str, Any]) -> Any:
    """Return the rows of a name among tensors on disk; a `KeyError` if there are none."""
    if name in tensors or f"{name}/{PART}" not in tensors:
        return tensors[name]
    number = np.asarray(tensors[f"{name}/{PART}"])
    groups = [np.flatnonzero(number == k) for k in range(int(number.max()) + 1)]
    return join_groups([tensors[f"{name}/{k}"] for k in range(len(groups))], groups)
