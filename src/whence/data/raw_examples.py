"""Raw examples, which every reader makes, and the data set that is made of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from whence.data.dataset import NO_UNIT, Dataset, Labels
from whence.data.pixels import Source, stack
from whence.errors import DataError, join_names

Columns = Mapping[str, Sequence[object]]
"""N values by column name."""

_CLASS_COLUMN = "label"
_CAPTION_COLUMNS = ("text", "caption", _CLASS_COLUMN)


@dataclass(frozen=True)
class ReadOptions:
    """The settings of every reader.

    Attributes:
        unit_column: The column that holds the units; None makes each training example its own unit.
        resolution: Height and width to crop and scale to; None keeps the size that all images share.
        grey: Use one channel, even where there are colours.
    """

    unit_column: str | None = None
    resolution: int | None = None
    grey: bool = False


@dataclass(frozen=True)
class RawExamples:
    """Training examples before their images are decoded.

    Attributes:
        ids: Their ids (N).
        names: What messages call the images (N).
        sources: The images (N), which can be read more than once.
        columns: Values that may be used as units (N each), with captions and classes; see `captions_and_classes`.
        class_columns: Columns that their file declares to hold classes.
        labels: Their captions and classes (N), if they are not in the columns.
        notes: What the user should know.
    """

    ids: Sequence[str]
    names: Sequence[str]
    sources: Iterable[Source]
    columns: Columns
    class_columns: Collection[str] = ()
    labels: Labels | None = None
    notes: tuple[str, ...] = ()

    def dataset(self, options: ReadOptions) -> Dataset:
        """Return the data set: decode the images and find the units.

        Raises:
            DataError: There is no training example, an image can't be decoded, the sizes differ, ids
                repeat, the unit column is unknown or a caption is no text or number.
        """
        if not self.ids:
            raise DataError("The data set has no training example.")
        captions = classes = self.labels
        if captions is None or classes is None:
            captions, classes = captions_and_classes(self.ids, self.columns, self.class_columns)
        units, unit_notes = units_of(self.ids, self.columns, options.unit_column)
        pixels, pixel_notes = stack(self.names, self.sources, resolution=options.resolution, grey=options.grey)
        data = Dataset(tuple(self.ids), pixels, units, captions, classes=classes)
        notes = (*self.notes, *pixel_notes, *unit_notes, *_duplicate_notes(data))
        return data.with_fields(notes=notes)


def _duplicate_notes(data: Dataset) -> list[str]:
    """A note on images whose pixels occur more than once."""
    ids: dict[str, list[str]] = {}
    for id, fingerprint in zip(data.ids, data.fingerprints, strict=True):
        ids.setdefault(fingerprint, []).append(id)
    repeated = [" = ".join(group[:5]) for group in ids.values() if len(group) > 1]
    return [f"Images that occur more than once and were all kept: {join_names(repeated)}."] if repeated else []


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
        return tuple((id,) for id in ids), []
    if unit_column not in columns:
        names = ", ".join(columns) or "none at all"
        raise DataError(f"There is no unit column {unit_column!r}; there is {names}.")
    units = []
    for id, value in zip(ids, columns[unit_column], strict=True):
        values = value if isinstance(value, list) else [value]
        texts = [as_text(entry, id, unit_column) for entry in values]
        units.append(tuple(dict.fromkeys(text for text in texts if text is not None)) or (NO_UNIT,))
    without = sum(NO_UNIT in names for names in units)
    note = (
        f"{without} of {len(units)} training examples have no value in {unit_column!r} "
        f"and belong to the unit {NO_UNIT}."
    )
    return tuple(units), [note] if without else []


def captions_and_classes(
    ids: Sequence[str], columns: Columns, class_columns: Collection[str] = ()
) -> tuple[Labels, Labels]:
    """Return the captions and the classes of every training example.

    Captions are the column ``text``, or else ``caption``, or else ``label``. They are the classes too if that column
    is ``label``, is a class column or holds numbers. If it holds text, classes are the column ``label``, where there is
    one.

    Args:
        ids: The examples.
        columns: Their columns.
        class_columns: Columns that their file declares to hold classes.

    Raises:
        DataError: A caption is no text or number.

    Example:
        >>> captions_and_classes(["x", "y"], {"text": ["a big cat", None], "label": ["cat", "dog"]})
        (('a big cat', None), ('cat', 'dog'))
    """
    unknown = (None,) * len(ids)
    name = next((name for name in _CAPTION_COLUMNS if name in columns), None)
    if name is None:
        return unknown, unknown
    values = columns[name]
    captions = tuple(as_text(value, id, name) for value, id in zip(values, ids, strict=True))
    if name == _CLASS_COLUMN or name in class_columns or _are_numbers(values):
        return captions, captions
    labels = columns.get(_CLASS_COLUMN, unknown)
    if not all(value is None or isinstance(value, str | int | float) for value in labels):
        return captions, unknown
    return captions, tuple(as_text(value, id, _CLASS_COLUMN) for value, id in zip(labels, ids, strict=True))


def _are_numbers(values: Sequence[object]) -> bool:
    """Whether all values that are there are numbers."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


def as_text(value: object, id: str, column: str) -> str | None:
    """Return a value as text without space around it; None if it is missing, empty or NaN.

    Raises:
        DataError: The value is a list or has other structure.
    """
    if value is None or isinstance(value, float) and math.isnan(value):
        return None
    if not isinstance(value, str | int | float):
        raise DataError(
            f"The training example {id!r} has {type(value).__name__} as a value in {column!r}; "
            "text or a number is expected."
        )
    text = str(value).strip()
    return None if text in ("", "nan", "NaN") else text
