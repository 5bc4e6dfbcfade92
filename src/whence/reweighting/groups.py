"""Groups of held-out pictures, and their halves: one to choose weights by, one to check them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from whence.data import Dataset
from whence.errors import DataError
from whence.seeds import derived_seed

#: What pictures are grouped by: their class, or their units.
GroupKind = Literal["label", "unit"]
#: The name of the one group of all pictures.
ALL = "(all)"


@dataclass(frozen=True, eq=False)
class GroupedPictures:
    """Pictures with the rows of each group, int64, ascending."""

    pictures: Dataset
    rows: dict[str, np.ndarray]

    @classmethod
    def of(cls, pictures: Dataset, by: GroupKind | None) -> GroupedPictures:
        """Return pictures grouped by class or unit, or as one group of all.

        Raises:
            DataError: A picture has no class, or a group has fewer than two pictures.

        Example:
            >>> from whence.data import load
            >>> list(GroupedPictures.of(load("digits:test"), "label").rows)
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
        """
        groups = group_rows(pictures, by)
        small = [name for name, rows in groups.items() if len(rows) < 2]
        if small:
            raise DataError(
                f"The group {small[0]!r} has one held-out picture; two or more are needed, one of them to check by. "
                "Give more pictures, or none of that group."
            )
        return cls(pictures, groups)

    @property
    def shares(self) -> np.ndarray:
        """Pictures of each group over those of all groups, float64 [G]."""
        counts = np.array([len(rows) for rows in self.rows.values()], np.float64)
        shares: np.ndarray = counts / counts.sum()
        return shares

    def halves(self, seed: int) -> tuple[GroupedPictures, GroupedPictures]:
        """Return two halves of every group at random: to choose by, and to check. A picture is in one of them alone."""
        source = np.random.default_rng(derived_seed(seed, "development pictures"))
        order, chosen = source.permutation(len(self.pictures)), np.zeros(len(self.pictures), bool)
        place = np.argsort(order)
        for rows in self.rows.values():
            free = rows[np.argsort(place[rows])]
            chosen[free[: len(rows) // 2]] = True
        return self._only(chosen), self._only(~chosen)

    def _only(self, mask: np.ndarray) -> GroupedPictures:
        """The pictures of a mask, in their groups."""
        kept = np.flatnonzero(mask)
        rows = {name: np.searchsorted(kept, rows[mask[rows]]) for name, rows in self.rows.items()}
        empty = [name for name, own in rows.items() if not len(own)]
        if empty:
            raise DataError(f"The group {empty[0]!r} can't be halved: its pictures are all in another group's half.")
        return GroupedPictures(self.pictures.select(kept), rows)


def group_rows(images: Dataset, by: GroupKind | None) -> dict[str, np.ndarray]:
    """Return the rows of the images of each group by its name, sorted: classes, units, or one group of all.

    Raises:
        DataError: The class of an image is not known.
    """
    names: dict[str, list[int]] = {}
    for n in range(len(images)):
        for name in _names(images, n, by):
            names.setdefault(name, []).append(n)
    return {name: np.array(names[name]) for name in sorted(names)}


def _names(pictures: Dataset, row: int, by: GroupKind | None) -> tuple[str, ...]:
    if by is None:
        return (ALL,)
    if by == "unit":
        return pictures.units[row]
    name = pictures.classes[row]
    if name is None:
        raise DataError(
            f"The class of the image {pictures.ids[row]!r} is not known. Give it in a column 'label', or a "
            "folder for each class; or group by unit."
        )
    return (name,)
