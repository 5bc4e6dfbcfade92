"""Splits: a contributor that divides its examples among several names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.credit.contributors import Contributors
from whence.data import NO_UNIT
from whence.errors import ConfigError

#: Names that a contributor takes.
NAMES = 10


@dataclass(frozen=True)
class Split:
    """Contributors of whom one took several names.

    Attributes:
        unit: Who.
        parts: Its names, which share out its examples at random, as evenly as can be.
        contributors: All contributors, `unit` under these names.
    """

    unit: str
    parts: tuple[str, ...]
    contributors: Contributors

    @property
    def clusters(self) -> tuple[str, ...]:
        """A cluster for each contributor, all parts in one: for Owen values."""
        return tuple(self.unit if name in self.parts else name for name in self.contributors.names)


def split(contributors: Contributors, unit: str, names: int = NAMES, seed: int = 0) -> Split:
    """Return the contributors after one has divided its examples among several names.

    Raises:
        DataError: There is no such contributor.
        ConfigError: There are fewer than two names, more than it has examples, or it is `(none)`.

    Example:
        >>> one = split(Contributors.of(("1", "2", "3"), (("a",), ("a", "b"), ("b",))), "a", 2)
        >>> one.parts, one.contributors.sizes.tolist(), one.clusters
        (('a (1 of 2)', 'a (2 of 2)'), [1, 1, 2], ('a', 'a', 'b'))
    """
    u = contributors.index_of(unit)
    rows = np.flatnonzero(contributors.member[u])
    if not 2 <= names <= len(rows) or unit == NO_UNIT:
        raise ConfigError(
            f"{unit!r} with {len(rows)} examples can't take {names} names: a contributor takes from 2 names on, with "
            f"at least one example each, and {NO_UNIT!r} takes none."
        )
    parts = tuple(f"{unit} ({k + 1} of {names})" for k in range(names))
    dealt = np.random.default_rng(seed).permutation(np.arange(len(rows)) % names)
    part_of = {int(n): parts[k] for n, k in zip(rows, dealt, strict=True)}
    own = [[contributors.names[v] for v in np.flatnonzero(column)] for column in contributors.member.T]
    units = [[part_of[n] if name == unit else name for name in named] for n, named in enumerate(own)]
    return Split(unit, parts, Contributors.of(contributors.examples, units))
