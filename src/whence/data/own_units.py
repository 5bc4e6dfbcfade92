"""Units of examples that are each a unit by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import eq
from typing import Any

from whence.data.columns import normalise


class OwnUnits(Sequence[tuple[str, ...]]):
    """The units of N examples whose only unit is their id, made when they are asked for: (id,).

    Example:
        >>> units = OwnUnits(("a", "b"))
        >>> units[1], len(units), units == (("a",), ("b",)), units[:1]
        (('b',), 2, True, (('a',),))
    """

    def __init__(self, ids: tuple[str, ...]) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return ((name,) for name in self.ids)

    def __getitem__(self, n: Any) -> Any:
        return tuple((name,) for name in self.ids[n]) if isinstance(n, slice) else (self.ids[n],)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, OwnUnits):
            return self.ids == other.ids
        return isinstance(other, tuple) and len(other) == len(self) and all(map(eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


def compact(units: tuple[tuple[str, ...], ...], ids: tuple[str, ...]) -> Sequence[tuple[str, ...]]:
    """Return the units of examples with these ids; as `OwnUnits` where each is a unit by itself."""
    own = OwnUnits(ids)
    return own if own == units else units


def composed_units(units: Sequence[Sequence[str]], ids: tuple[str, ...]) -> Sequence[tuple[str, ...]]:
    """Return the units of examples with these ids, each once; those that are so already are not copied."""
    if isinstance(units, OwnUnits) and tuple(map(normalise, units.ids)) == ids:
        return OwnUnits(ids)
    composed = (tuple(dict.fromkeys(map(normalise, names))) for names in units)
    return compact(
        tuple(n if isinstance(n, tuple) and n == c else c for n, c in zip(units, composed, strict=True)), ids
    )
