"""Raw examples, which every reader makes, and the data set that is made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from whence.data.columns import CAPTION_COLUMNS, CLASS_COLUMN, Columns, has_values, rename, texts
from whence.data.dataset import NO_UNIT, Dataset, Labels
from whence.data.image_files import Source
from whence.data.own_units import OwnUnits
from whence.data.read_options import ReadOptions
from whence.data.recipe import Recipe
from whence.data.stack import stack
from whence.errors import DataError, join_names

#: Largest number of examples that a note names.
MOST = 20


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
        weights: Their weights in the loss (N); empty where all are 1.
        recipe: What the file of a trainer says of every visit.
        skip_broken: Leave out images that can't be decoded, whatever the options say.
    """

    ids: Sequence[str]
    names: Sequence[str]
    sources: Iterable[Source]
    columns: Columns
    class_columns: Collection[str] = ()
    labels: Labels | None = None
    notes: tuple[str, ...] = ()
    weights: Sequence[float] = ()
    recipe: Recipe | None = None
    skip_broken: bool = False

    def dataset(self, options: ReadOptions) -> Dataset:
        """Return the data set: decode the images and find the units.

        Raises:
            DataError: There is no training example, an image can't be decoded, the sizes differ, ids
                repeat, a column is unknown or a caption is no text or number.
        """
        if not self.ids:
            raise DataError("The data set has no training example.")
        captions, classes = self._captions_and_classes(options.caption_column)
        units, unit_notes = units_of(self.ids, self.columns, options.unit_column)
        size: dict[str, Any] = {"resolution": options.resolution, "buckets": options.buckets, "grey": options.grey}
        size["kohya"] = self.recipe is not None
        images = stack(self.names, self.sources, skip_broken=self.skip_broken or options.skip_bad, **size)
        given = [_rows_of(values, images.rows) for values in (self.ids, units, captions, classes)]
        weights = tuple(self.weights[n] for n in images.rows) if self.weights else ()
        fields: dict[str, Any] = dict(zip(("ids", "units", "captions", "classes"), given, strict=True))
        data = Dataset(pixels=images.pixels, weights=weights, recipe=self.recipe, framings=images.framings, **fields)
        text_notes = _composition_notes(data, given)
        notes = (*self.notes, *broken_notes(images.broken), *images.notes, *unit_notes, *text_notes)
        vars(data)["notes"] = (*notes, *_duplicate_notes(data))
        return data

    def _captions_and_classes(self, caption_column: str | None) -> tuple[Labels, Labels]:
        """The captions and the classes; a caption column that is named comes before `labels`."""
        if self.labels is not None and caption_column is None:
            return self.labels, self.labels
        found = captions_and_classes(self.ids, self.columns, self.class_columns, caption_column)
        return found if self.labels is None else (found[0], self.labels)


def _rows_of(values: Sequence[Any], rows: Sequence[int]) -> Sequence[Any]:
    """Return some rows; all of them are not copied."""
    return values if len(rows) == len(values) else [values[n] for n in rows]


def broken_notes(broken: Mapping[str, str]) -> list[str]:
    """Return a note on examples that can't be read and are left out, from the reason of each by its name.

    Example:
        >>> broken_notes({"a.tar: 1.jpg": "a.tar: 1.jpg cannot be decoded."})
        ["1 example can't be read and was left out: a.tar: 1.jpg. The first reason: a.tar: 1.jpg cannot be decoded."]
    """
    if not broken:
        return []
    count = (
        "1 example can't be read and was" if len(broken) == 1 else f"{len(broken):,} examples can't be read and were"
    )
    return [f"{count} left out: {join_names(list(broken), most=MOST)}. The first reason: {next(iter(broken.values()))}"]


def _composition_notes(data: Dataset, given: Sequence[Sequence[object]]) -> list[str]:
    """A note on ids, units, captions and classes that the data set brought to Unicode's composed form."""
    rows = zip(
        zip(*given, strict=True), zip(data.ids, data.units, data.captions, data.classes, strict=True), strict=True
    )
    changed = sum(before != after for before, after in rows)
    note = f"Names and captions of {changed} training examples were brought to Unicode's composed form (NFC)."
    return [note] if changed else []


def _duplicate_notes(data: Dataset) -> list[str]:
    """A note on images whose pixels occur more than once."""
    groups = data.fingerprints.repeated()
    repeated = [" = ".join(data.ids[n] for n in group[:5].tolist()) for group in groups]
    return [f"Images that occur more than once and were all kept: {join_names(repeated)}."] if repeated else []


def units_of(
    ids: Sequence[str], columns: Columns, unit_column: str | None
) -> tuple[Sequence[tuple[str, ...]], list[str]]:
    """Return the units of every training example, and notes on missing values.

    Without `unit_column` each training example is its own unit. The column is known by its name in the file too. A list
    is several units; text, whatever is in it, is one.

    Raises:
        DataError: There is no such column, or a value is no text, number or list of them.

    Example:
        >>> units_of(["x", "y"], {"artist": [["anna", "ben"], ""]}, "artist")
        ((('anna', 'ben'), ('(none)',)),
        ["1 of 2 training examples have no value in 'artist' and belong to the unit (none)."])
    """
    if unit_column is None:
        return OwnUnits(tuple(ids)), []
    unit_column = _name_in(columns, unit_column, "unit")
    entries = [value if isinstance(value, list) else [value] for value in columns[unit_column]]
    owners = [id for id, values in zip(ids, entries, strict=True) for _ in values]
    flat = iter(texts([value for values in entries for value in values], owners, unit_column))
    units = [
        tuple(dict.fromkeys(name for name in islice(flat, len(values)) if name is not None)) or (NO_UNIT,)
        for values in entries
    ]
    without = sum(NO_UNIT in entry for entry in units)
    note = (
        f"{without} of {len(units)} training examples have no value in {unit_column!r} "
        f"and belong to the unit {NO_UNIT}."
    )
    return tuple(units), [note] if without else []


def _name_in(columns: Columns, name: str, purpose: str) -> str:
    """The name that a column is used by, which may be given as in the file; a `DataError` if there is none."""
    if name not in columns:
        [name] = rename([name], f"The {purpose} column")
    if name not in columns:
        raise DataError(f"There is no {purpose} column {name!r}; there is {', '.join(columns) or 'none at all'}.")
    return name


def captions_and_classes(
    ids: Sequence[str], columns: Columns, class_columns: Collection[str] = (), caption_column: str | None = None
) -> tuple[Labels, Labels]:
    """Return the captions and the classes of every training example.

    Captions are the first of the columns ``text``, ``caption`` and ``prompt`` that has a value, or else ``label``. They
    are the classes too if that column is ``label``, is a class column or holds numbers. If it holds text, classes are
    the column ``label``, where there is one. A column that is named as `caption_column` holds text alone.

    Args:
        ids: The examples.
        columns: Their columns.
        class_columns: Columns that their file declares to hold classes.
        caption_column: The column that holds the captions; None for the first of the usual ones.

    Raises:
        DataError: A caption or a class is no text or number, or there is no such caption column.

    Example:
        >>> captions_and_classes(["x", "y"], {"text": ["a big cat", None], "label": ["cat", "dog"]})
        (('a big cat', None), ('cat', 'dog'))
    """
    unknown = (None,) * len(ids)
    known = {name: columns[name] for name in (*CAPTION_COLUMNS, CLASS_COLUMN) if name in columns}
    if caption_column is not None:
        name = _name_in(columns, caption_column, "caption")
        known[name] = _require_text(columns[name], name)
    elif not known:
        return unknown, unknown
    else:
        name = next((name for name in CAPTION_COLUMNS if has_values(known.get(name, ()))), next(iter(known)))
    values = known[name]
    captions = texts(values, ids, name)
    if name == CLASS_COLUMN or name in class_columns or _are_numbers(values):
        return captions, captions
    return captions, texts(known.get(CLASS_COLUMN, unknown), ids, CLASS_COLUMN)


def _require_text(values: Sequence[object], column: str) -> Sequence[object]:
    """Return the values of a caption column, which are text where there are any; a `DataError` names another type."""
    for value in values:
        if has_values([value]) and not isinstance(value, str | bytes):
            raise DataError(
                f"The caption column {column!r} is not text: it holds {type(value).__name__}. Name a column of text."
            )
    return values


def _are_numbers(values: Sequence[object]) -> bool:
    """Whether all values that are there are numbers."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)
