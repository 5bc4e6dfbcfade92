"""The data set: training examples with ids, pixels, units, captions and classes."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from whence import artefacts
from whence.data.columns import normalise
from whence.errors import DataError, join_names
from whence.images import from_pixels
from whence.lazy import torch

NO_UNIT = "(none)"
"""The unit of the training examples without a unit."""

Labels = tuple[str | None, ...]
"""A text for each training example; None where there is none."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training examples, in a fixed order. Texts are brought to Unicode's composed form (NFC).

    Attributes:
        ids: N unique strings that never change.
        pixels: uint8 [N, C, H, W]; may be mapped from disk.
        units: N tuples, none of them empty: the units that each training example belongs to, each once.
        captions: N captions: text that describes the image. None where there is no caption.
        classes: N names of classes, such as "cat"; None where the class is not known. Captions are not taken for
            classes. Not given: no class is known.
        notes: What the user should know about how the data were read.

    Example:
        >>> pixels = np.zeros((2, 1, 8, 8), np.uint8)
        >>> data = Dataset(("a", "b"), pixels, (("anna",), ("anna", "ben")), (None, "a cat"))
        >>> data.unit_ids, data.examples_of("anna").tolist(), data.images([0]).min().item()
        (('anna', 'ben'), [0, 1], -1.0)
    """

    ids: tuple[str, ...]
    pixels: np.ndarray
    units: tuple[tuple[str, ...], ...]
    captions: Labels
    classes: Labels = field(default=(), kw_only=True)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            DataError: Pixels are no images, a field has another length than `ids`, ids repeat, an example has no unit,
                its units are no tuple or list, or a text is not valid UTF-8.
        """
        _require_images(self.pixels)
        if not self.classes:
            object.__setattr__(self, "classes", (None,) * len(self.ids))
        for name in ("pixels", "units", "captions", "classes"):
            if len(getattr(self, name)) != len(self.ids):
                raise DataError(f"There are {len(self.ids)} ids, but {len(getattr(self, name))} {name}.")
        _require_text(self)
        ids, captions, classes = (tuple(map(_composed, texts)) for texts in (self.ids, self.captions, self.classes))
        units = tuple(tuple(dict.fromkeys(map(_composed, names))) for names in self.units)
        vars(self).update(ids=ids, units=units, captions=captions, classes=classes)
        _require_unique(self.ids)

    def __repr__(self) -> str:
        channels, height, width = self.size
        captions = "with" if any(self.captions) else "without"
        images = f"{len(self):,} images of {width}x{height} in {'colour' if channels == 3 else 'grey'}"
        return f"Dataset({images}, {len(self.unit_ids):,} units, {captions} captions, {self.fingerprint[:12]})"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width (C, H, W) of every image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 (hex) of each image: its shape and its decoded pixels."""
        head = "x".join(map(str, self.size)).encode() + b":"
        return tuple(artefacts.digest(head + image.tobytes()) for image in self.pixels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, fingerprints of the images, units and captions.

        Classes are not part of it: nothing is trained on them. What depends on classes records `class_inputs` too.
        """
        return artefacts.digest(self._parts)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 (hex) of ids, pixels, units and captions, each by itself, to say in what two data sets differ."""
        return {name: artefacts.digest(part) for name, part in self._parts.items()}

    @property
    def _parts(self) -> dict[str, tuple[Any, ...]]:
        return {"ids": self.ids, "pixels": self.fingerprints, "units": self.units, "captions": self.captions}

    @cached_property
    def ungrouped(self) -> Dataset:
        """The same training examples, each a unit by itself, as they are read without a unit column."""
        return self.with_fields(units=tuple((id,) for id in self.ids))

    def with_fields(self, **changes: Any) -> Dataset:
        """The same images with other units, captions, classes or notes; the images are not hashed again."""
        dataset = replace(self, **changes)
        vars(dataset)["fingerprints"] = self.fingerprints
        return dataset

    @cached_property
    def unit_ids(self) -> tuple[str, ...]:
        """The U distinct units, in order of first appearance."""
        return tuple(self._examples_by_unit)

    @cached_property
    def _examples_by_unit(self) -> dict[str, list[int]]:
        examples: dict[str, list[int]] = {}
        for n, units in enumerate(self.units):
            for unit in units:
                examples.setdefault(unit, []).append(n)
        return examples

    @cached_property
    def _index_by_id(self) -> dict[str, int]:
        return {id: n for n, id in enumerate(self.ids)}

    def examples_of(self, unit: str) -> np.ndarray:
        """Return the indices of the training examples that belong to `unit`, ascending.

        Raises:
            DataError: There is no such unit.
        """
        unit = _spelled(unit, self._examples_by_unit)
        if unit not in self._examples_by_unit:
            raise DataError(_unknown("unit", unit, self.unit_ids))
        return np.array(self._examples_by_unit[unit], dtype=np.int64)

    def index_of(self, id: str) -> int:
        """Return the index of the training example `id`.

        Raises:
            DataError: There is no such training example.
        """
        id = _spelled(id, self._index_by_id)
        if id not in self._index_by_id:
            raise DataError(_unknown("training example", id, self.ids))
        return self._index_by_id[id]

    def images(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """The images as a model sees them, pixel / 127.5 - 1: float32 [n, C, H, W] in [-1, 1]."""
        pixels = self.pixels[self._rows(indices)]
        return from_pixels(torch.from_numpy(pixels))

    def select(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The training examples at `indices`, in that order. Notes are about the whole data set and are left out."""
        rows = self._rows(indices)
        ids, units, captions, classes = (
            tuple(values[n] for n in rows) for values in (self.ids, self.units, self.captions, self.classes)
        )
        return Dataset(ids, self.pixels[rows], units, captions, classes=classes)  # type: ignore[arg-type]

    def _rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Indices, or a mask, as int64 indices; numpy refuses what is neither or out of range."""
        return np.arange(len(self))[np.asarray(indices) if len(indices) else []]


def class_inputs(**datasets: Dataset | None) -> dict[str, str]:
    """Return the SHA-256 (hex) of the classes of data sets by ROLE, as ``ROLE_classes``: inputs of an artefact.

    Classes that are the captions are left out, because the fingerprint of the data covers them. So are classes of
    which none is known.

    Example:
        >>> data = Dataset(("a",), np.zeros((1, 1, 2, 2), np.uint8), (("a",),), ("a big cat",), classes=("cat",))
        >>> list(class_inputs(data=data, held_out=None))
        ['data_classes']
    """
    return {
        f"{role}_classes": artefacts.digest({"classes": data.classes})
        for role, data in datasets.items()
        if data is not None and data.classes != data.captions and any(name is not None for name in data.classes)
    }


def _require_images(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise DataError(f"Pixels must be uint8 [N, C, H, W], not {pixels.dtype} {list(pixels.shape)}.")
    if pixels.shape[0] == 0:
        raise DataError("The data set has no training example.")
    if pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
        raise DataError(f"Images must have 1 or 3 channels and some pixels, not {list(pixels.shape[1:])}.")


def _require_text(data: Dataset) -> None:
    """Check that texts are valid UTF-8 and that every example has a unit.

    Raises:
        DataError: A text is not, or an example has none, or one text stands for several.
    """
    for name in ("ids", "units", "captions", "classes", "notes"):
        if isinstance(getattr(data, name), str):
            raise DataError(f"The {name} are the text {getattr(data, name)!a}; give a tuple with an entry for each.")
    for id, units, *labels in zip(data.ids, data.units, data.captions, data.classes, strict=True):
        if not isinstance(units, tuple | list):
            raise DataError(f"The units of the training example {id!a} are {units!a}; give a tuple: (NAME,).")
        if not units:
            raise DataError(f"The training example {id!a} has no unit; use {NO_UNIT!r}.")
        for text in (id, *units, *(label for label in labels if label is not None)):
            if not isinstance(text, str) or not text.isascii() and text != _utf8(text):
                raise DataError(f"{text!a} of the training example {id!a} is not text in UTF-8.")


def _composed(text: str | None) -> str | None:
    return text and normalise(text)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _require_unique(ids: Sequence[str]) -> None:
    repeated = [id for id, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(
            f"Ids must be unique; {len(repeated)} of them are used more than once: {join_names(repeated, most=5)}."
        )


def _spelled(name: str, known: Collection[str]) -> str:
    """The known name that is the same text as `name` in Unicode's composed form, or `name`."""
    if name in known or name.isascii():
        return name
    return next((other for other in known if normalise(other) == normalise(name)), name)


def _unknown(noun: str, name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=3) or list(known[:3])
    return f"There is no {noun} {name!r} among the {len(known)}. Did you mean {', '.join(close)}?"
