"""The last step of every reader: from training examples as they were found to a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from whence.data.columns import Columns, units_of
from whence.data.dataset import Dataset
from whence.data.pixels import Source
from whence.data.stack import shorten, stack
from whence.errors import DataError


@dataclass(frozen=True)
class Options:
    """What the user asked of the reader.

    Attributes:
        unit_column: The column that holds the units; None makes each training example its own unit.
        resolution: Height and width to crop and scale to; None keeps the size that all images share.
        grey: One channel, even where there are colours.
    """

    unit_column: str | None = None
    resolution: int | None = None
    grey: bool = False


@dataclass(frozen=True)
class Found:
    """Training examples before decoding.

    Attributes:
        ids: Their ids (N).
        names: What messages call the images (N).
        sources: The images (N), which can be gone through more than once.
        captions: Their captions (N).
        columns: Values that may be used as units (N each).
        notes: What was noticed so far.
    """

    ids: Sequence[str]
    names: Sequence[str]
    sources: Iterable[Source]
    captions: Sequence[str | None]
    columns: Columns
    notes: tuple[str, ...] = ()


def build(found: Found, options: Options) -> Dataset:
    """Return the data set: decode the images and settle the units.

    Raises:
        DataError: There is no training example, an image can't be decoded, the sizes differ, ids
            repeat or the unit column is unknown.
    """
    if not found.ids:
        raise DataError("The data set has no training example.")
    units, unit_notes = units_of(found.ids, found.columns, options.unit_column)
    pixels, pixel_notes = stack(found.names, found.sources, resolution=options.resolution, grey=options.grey)
    dataset = Dataset(tuple(found.ids), pixels, units, tuple(found.captions))
    notes = (*found.notes, *pixel_notes, *unit_notes, *_duplicates(dataset))
    noted = replace(dataset, notes=notes)
    vars(noted)["fingerprints"] = dataset.fingerprints
    return noted


def _duplicates(dataset: Dataset) -> list[str]:
    """A note on images whose pixels occur more than once."""
    groups: dict[str, list[str]] = {}
    for example, fingerprint in zip(dataset.ids, dataset.fingerprints, strict=True):
        groups.setdefault(fingerprint, []).append(example)
    repeated = [" = ".join(group[:5]) for group in groups.values() if len(group) > 1]
    if not repeated:
        return []
    return [f"Images that occur more than once and were all kept: {shorten(repeated)}."]
