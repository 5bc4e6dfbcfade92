"""Contributors: whose the training examples are, and which examples are left without some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whence.data import NO_UNIT, Dataset, load
from whence.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Contributors:
    """The U contributors of N training examples; an example may be of several.

    Examples that belong to nobody are those of the contributor `(none)`, which is listed like any other.

    Attributes:
        names: Contributors, sorted, `(none)` last.
        member: Which examples belong to each contributor, bool [U, N].
        examples: Ids of the examples, N.

    Example:
        >>> contributors = Contributors.of(("a", "b", "c"), (("anna",), ("anna", "ben"), ("(none)",)))
        >>> contributors.names, contributors.member.sum(1).tolist()
        (('anna', 'ben', '(none)'), [2, 1, 1])
        >>> contributors.kept(np.array([True, False, True])).tolist()
        [0, 2]
    """

    names: tuple[str, ...]
    member: np.ndarray
    examples: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[str], units: Sequence[Sequence[str]]) -> Contributors:
        """Return the contributors of examples from the units of each; a DataError if there are fewer than two."""
        names = sorted({name for owners in units for name in owners} - {NO_UNIT})
        names += [NO_UNIT] if any(NO_UNIT in owners for owners in units) else []
        if len(names) < 2:
            raise DataError(
                f"Credit is shared among contributors; all {len(examples):,} examples are of {names[0]!r}. "
                "Name another column with --unit-column."
                if names
                else "Credit is shared among contributors; there are no training examples."
            )
        rows = {name: u for u, name in enumerate(names)}
        member = np.zeros((len(names), len(examples)), bool)
        for n, owners in enumerate(units):
            member[[rows[name] for name in owners], n] = True
        return cls(tuple(names), member, tuple(examples))

    @classmethod
    def of_data(cls, data: Dataset) -> Contributors:
        """Return the contributors of a data set, which are its units."""
        return cls.of(data.ids, data.units)

    @classmethod
    def of_source(cls, source: Path, examples: Sequence[str], units: Sequence[Sequence[str]]) -> Contributors:
        """Return the contributors with which scores or an ensemble were made.

        Raises:
            ConfigError: They were made without contributors: every example is a unit by itself.
        """
        if all(owners == (name,) for name, owners in zip(examples, units, strict=True)):
            raise ConfigError(
                f"{source} was made without contributors: give DATA and --unit-column, as in whence credit compute "
                f"{source} DATA --unit-column artist."
            )
        return cls.of(examples, units)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Examples of each contributor, int [U]."""
        sizes: np.ndarray = self.member.sum(1)
        return sizes

    @cached_property
    def owned(self) -> tuple[tuple[str, ...], ...]:
        """Ids of the examples of each contributor, U."""
        return tuple(tuple(self.examples[n] for n in np.flatnonzero(row)) for row in self.member)

    def index_of(self, name: str) -> int:
        """Return the row of a contributor, or raise DataError if there is none of that name."""
        if name not in self.names:
            listed = ", ".join(self.names[:8]) + (" ..." if len(self.names) > 8 else "")
            raise DataError(f"There is no contributor {name!r}; there are {len(self.names)}: {listed}")
        return self.names.index(name)

    def kept(self, coalition: np.ndarray) -> np.ndarray:
        """Return the rows of the examples that a coalition, bool [U], may train on: all their owners are in it."""
        return np.flatnonzero(~self.member[~coalition].any(0))

    def clusters(self, data: Dataset) -> tuple[str, ...]:
        """Return the cluster of each contributor, U: the one unit of all its examples in data with clusters as units.

        Raises:
            ConfigError: The examples of a contributor are of several clusters.
        """
        clusters = []
        for name, row in zip(self.names, self.member, strict=True):
            units = sorted({unit for n in row.nonzero()[0] for unit in data.units[n]})
            if len(units) != 1:
                raise ConfigError(
                    f"The examples of {name!r} are of {len(units)} clusters ({', '.join(units[:3])}); a contributor "
                    "belongs to one."
                )
            clusters.append(units[0])
        return tuple(clusters)


def load_contributed(name: str, columns: Sequence[str], **options: Any) -> Dataset:
    """Load data whose units are its contributors, by the columns that say whose an example is; see `join_columns`."""
    by_column = {column: load(name, unit_column=column, **options) for column in columns}
    first = next(iter(by_column.values()))
    return replace(first, units=join_columns({column: data.units for column, data in by_column.items()}))


def join_columns(columns: Mapping[str, Sequence[Sequence[str]]]) -> tuple[tuple[str, ...], ...]:
    """Return the units of every example from the units in each column; with several columns as `column: unit`.

    An example belongs to nobody only if no column names a unit.

    Example:
        >>> join_columns({"artist": [("anna",), ("(none)",)], "licence": [("cc",), ("(none)",)]})
        (('artist: anna', 'licence: cc'), ('(none)',))
    """
    if len(columns) == 1:
        return tuple(map(tuple, next(iter(columns.values()))))
    rows = []
    for row in zip(*columns.values(), strict=True):
        pairs = [(column, unit) for column, units in zip(columns, row, strict=True) for unit in units]
        rows.append(tuple(f"{column}: {unit}" for column, unit in pairs if unit != NO_UNIT) or (NO_UNIT,))
    return tuple(rows)
