"""Columns of a table beside images: their names, and their values as text."""

from __future__ import annotations

import datetime
import decimal
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from whence.errors import DataError, join_names

Columns = Mapping[str, Sequence[object]]
"""N values by column name."""

CLASS_COLUMN = "label"
CAPTION_COLUMNS = ("text", "caption", "prompt")
"""Columns that hold captions; the first of them that is there is used."""
#: Text that stands for no value.
_BLANK = ("", "nan", "NaN")
_KNOWN = ("file_name", "id", "image", CLASS_COLUMN, *CAPTION_COLUMNS)


def normalise(text: str) -> str:
    r"""Return text in Unicode's composed form (NFC), so that names that look the same are the same.

    Example:
        >>> normalise("Jose\u0301") == "José"
        True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def rename(names: Iterable[str], where: str) -> dict[str, str]:
    """Return the names that columns are used by: without space around them, and known names in lower case.

    Args:
        names: The names in the file.
        where: What messages call the file.

    Returns:
        The name in the file, by the name it is used by, in order.

    Raises:
        DataError: Two columns would have one name.

    Example:
        >>> rename(["file_name", " Text", "Artist"], "metadata.csv")
        {'file_name': 'file_name', 'text': ' Text', 'Artist': 'Artist'}
    """
    listed = list(names)
    used: dict[str, str] = {}
    for there in listed:
        name = normalise(there.strip())
        if name.lower() in _KNOWN and name.lower() not in listed:
            name = name.lower()
        if name in used:
            raise DataError(f"{where} has the columns {used[name]!r} and {there!r}. Keep one of them.")
        used[name] = there
    return used


def texts(values: Sequence[object], ids: Sequence[str], column: str) -> tuple[str | None, ...]:
    """Return the values of a column as text; see `as_text`. Whole numbers have no decimal places.

    Raises:
        DataError: A value has structure, such as a list.

    Example:
        >>> texts([1.0, float("nan"), 2.0], ["a", "b", "c"], "label")
        ('1', None, '2')
    """
    decimals = any(isinstance(value, float) and math.isfinite(value) and value % 1 for value in values)
    integers = [
        int(value) if not decimals and isinstance(value, float) and math.isfinite(value) else value for value in values
    ]
    return tuple(as_text(value, id, column) for value, id in zip(integers, ids, strict=True))


def required_texts(values: Sequence[object], names: Sequence[str], column: str, where: str) -> list[str]:
    """Return the values of a column as text, where each row must have one.

    Args:
        values: The values.
        names: What messages call the rows.
        column: The name of the column.
        where: What messages call the table.

    Raises:
        DataError: A row has no value, or one with structure.
    """
    found = texts(values, names, column)
    without = [name for name, text in zip(names, found, strict=True) if text is None]
    if without:
        raise DataError(f"{where}: the column {column!r} has no value for {join_names(without)}.")
    return [text for text in found if text is not None]


def has_values(values: Sequence[object]) -> bool:
    """Return whether a column has a value in any row; blank text and NaN are none.

    Example:
        >>> has_values([None, " ", float("nan")]), has_values([None, 0])
        (False, True)
    """
    return any(
        value is not None and not (isinstance(value, str | float) and str(value).strip() in _BLANK) for value in values
    )


def as_text(value: object, id: str, column: str) -> str | None:
    """Return a value as text without space around it; None if it is missing, empty or NaN.

    Raises:
        DataError: The value is a list or has other structure, or its bytes are not text in UTF-8.
    """
    if value is None or isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(
                f"The training example {id!r} has bytes in {column!r} that are not text in UTF-8."
            ) from None
    if not isinstance(value, str | int | float | decimal.Decimal | datetime.date):
        raise DataError(
            f"The training example {id!r} has {type(value).__name__} as a value in {column!r}; text or a number is "
            "expected. Write one value, or give the column another name."
        )
    text = str(value).strip()
    return None if text in _BLANK else text
