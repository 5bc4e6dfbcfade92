"""Contributors: whose the training examples are, and what is left of the data without some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whence.data import NO_UNIT, Dataset
from whence.errors import DataError


@dataclass(frozen=True, eq=False)
class Contributors:
    """The U contributors of N training examples; an example may be of several.

    Examples that belong to nobody are those of the contributor `(none)`, which is listed like any other.

    Attributes:
        names: Contributors, sorted, `(none)` last.
        member: Which examples are whose, bool [U, N].
        examples: Ids of the examples, N.

    Example:
        >>> found = Contributors.of(("a", "b", "c"), (("anna",), ("anna", "ben"), ("(none)",)))
        >>> found.names, found.member.sum(1).tolist()
        (('anna', 'ben', '(none)'), [2, 1, 1])
        >>> found.kept(np.array([True, False, True])).tolist()
        [0, 2]
    """

    names: tuple[str, ...]
    member: np.ndarray
    examples: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[str], units: Sequence[Sequence[str]]) -> Contributors:
        """Return the contributors of examples from the units of each.

        Raises:
            DataError: There are fewer than two contributors.
        """
        names = sorted({name for own in units for name in own} - {NO_UNIT})
        names += [NO_UNIT] if any(NO_UNIT in own for own in units) else []
        if len(names) < 2:
            raise DataError(
                f"Credit is shared among contributors; all {len(examples):,} examples are of {names[0]!r}. "
                "Name another column with --unit-column."
                if names
                else "Credit is shared among contributors; there are no training examples."
            )
        place = {name: u for u, name in enumerate(names)}
        member = np.zeros((len(names), len(examples)), bool)
        for n, own in enumerate(units):
            member[[place[name] for name in own], n] = True
        return cls(tuple(names), member, tuple(examples))

    @classmethod
    def of_data(cls, data: Dataset) -> Contributors:
        """Return the contributors of a data set, which are its units."""
        return cls.of(data.ids, data.units)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Examples of each contributor, int [U]."""
        found: np.ndarray = self.member.sum(1)
        return found

    def index_of(self, name: str) -> int:
        """Return the place of a contributor.

        Raises:
            DataError: There is none of that name.
        """
        if name not in self.names:
            listed = ", ".join(self.names[:8]) + (" ..." if len(self.names) > 8 else "")
            raise DataError(f"There is no contributor {name!r}; there are {len(self.names)}: {listed}")
        return self.names.index(name)

    def kept(self, coalition: np.ndarray) -> np.ndarray:
        """Return the rows of the examples that a coalition, bool [U], may train on: all whose owners are all in it."""
        return np.flatnonzero(~self.member[~coalition].any(0))


def joined(columns: Mapping[str, Sequence[Sequence[str]]]) -> tuple[tuple[str, ...], ...]:
    """Return the units of every example from those of several columns; with several, `column: unit`.

    An example belongs to nobody only if no column names anybody.

    Example:
        >>> joined({"artist": [("anna",), ("(none)",)], "licence": [("cc",), ("(none)",)]})
        (('artist: anna', 'licence: cc'), ('(none)',))
    """
    if len(columns) == 1:
        return tuple(map(tuple, next(iter(columns.values()))))
    found = []
    for units in zip(*columns.values(), strict=True):
        named = [
            f"{column}: {unit}" for column, own in zip(columns, units, strict=True) for unit in own if unit != NO_UNIT
        ]
        found.append(tuple(named) or (NO_UNIT,))
    return tuple(found)
