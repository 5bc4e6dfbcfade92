"""Units of training images and queries: those that scores hold, or a column of the data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from whence.errors import DataError

Units = tuple[tuple[str, ...], ...]


def units_of(names: Sequence[str], data: str, unit_column: str | None, what: str) -> Units:
    """Return the units of images of a data set, by id.

    Args:
        names: Ids of the images.
        data: The data set, as `whence.load` reads it.
        unit_column: The column that holds the units.
        what: What the images are, for the message.

    Raises:
        DataError: An image is not in the data.
    """
    units = _read(data, unit_column)
    missing = [name for name in names if name not in units]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} {what} are not in {data}, such as {missing[0]!r}. Give the data that they "
            "are from."
        )
    return tuple(units[name] for name in names)


@cache
def _read(data: str, unit_column: str | None) -> dict[str, tuple[str, ...]]:
    """Units by id."""
    from whence.data import load

    read = load(data, unit_column=unit_column)
    return dict(zip(read.ids, read.units, strict=True))
