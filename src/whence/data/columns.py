"""From columns of values (of a table, a metadata file, a built-in) to units and captions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from whence.data.dataset import NO_UNIT
from whence.errors import DataError

Columns = Mapping[str, Sequence[object]]
"""N values by column name."""

_CAPTION_COLUMNS = ("text", "caption", "label")


def units_of(
    ids: Sequence[str], columns: Columns, unit_column: str | None
) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Return the units of every training example, and notes on missing values.

    Without `unit_column` each training example is its own unit. A list is several units; text,
    whatever is in it, is one.

    Raises:
        DataError: There is no such column, or a value is no text, number or list of them.

    Example:
        >>> units_of(["x", "y"], {"artist": [["anna", "ben"], ""]}, "artist")
        ((('anna', 'ben'), ('(none)',)),
        ["1 of 2 training examples have no value in 'artist' and belong to the unit (none)."])
    """
    if unit_column is None:
        return tuple((example,) for example in ids), []
    if unit_column not in columns:
        listed = ", ".join(columns) or "none at all"
        raise DataError(f"There is no unit column {unit_column!r}; there is {listed}.")
    units = []
    for example, value in zip(ids, columns[unit_column], strict=True):
        values = value if isinstance(value, list) else [value]
        texts = [as_text(entry, example, unit_column) for entry in values]
        units.append(tuple(dict.fromkeys(text for text in texts if text is not None)) or (NO_UNIT,))
    missing = sum(NO_UNIT in own for own in units)
    notes = [
        f"{missing} of {len(units)} training examples have no value in {unit_column!r} "
        f"and belong to the unit {NO_UNIT}."
    ]
    return tuple(units), notes if missing else []


def captions_of(ids: Sequence[str], columns: Columns) -> tuple[str | None, ...]:
    """Return the captions: the column ``text``, or else ``caption``, or else ``label``, or else None.

    Raises:
        DataError: A value is no text or number.
    """
    for name in _CAPTION_COLUMNS:
        if name in columns:
            return tuple(as_text(value, row, name) for row, value in zip(ids, columns[name], strict=True))
    return (None,) * len(ids)


def as_text(value: object, example: str, column: str) -> str | None:
    """Return a value as text without space around it; None if it is missing, empty or NaN.

    Raises:
        DataError: The value is a list or has other structure.
    """
    if value is None or isinstance(value, float) and math.isnan(value):
        return None
    if not isinstance(value, str | int | float):
        raise DataError(
            f"The training example {example!r} has {type(value).__name__} as a value in {column!r}; "
            "text or a number is expected."
        )
    text = str(value).strip()
    return None if text in ("", "nan", "NaN") else text
