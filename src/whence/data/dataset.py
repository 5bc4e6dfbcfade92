"""The data set: training examples with ids, pixels, units, captions and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from whence import artefacts
from whence.data.columns import normalise
from whence.data.dataset_checks import (
    NO_UNIT,
    require_images,
    require_texts,
    require_unique,
    require_weights,
    spelled,
    unknown,
)
from whence.data.fingerprints import Fingerprints
from whence.data.framing import Framing
from whence.data.own_units import OwnUnits, composed_units
from whence.data.recipe import Recipe
from whence.errors import DataError
from whence.images import from_pixels
from whence.lazy import torch
from whence.ragged import Ragged, count_shapes

__all__ = ["NO_UNIT", "Dataset", "Labels", "class_inputs"]

Labels = tuple[str | None, ...]
"""A text for each training example; None where there is none."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training examples, in a fixed order. Texts are brought to Unicode's composed form (NFC).

    Attributes:
        ids: N unique strings that never change.
        pixels: uint8 [N, C, H, W], or `Ragged` of several shapes; may be mapped from disk.
        units: N tuples, none of them empty: the units that each training example belongs to, each once; `OwnUnits` if
            the only unit of each is its id.
        captions: N captions: text that describes the image. None where there is no caption.
        classes: N names of classes, such as "cat"; None where the class is not known. Captions are not taken for
            classes. Not given: no class is known.
        notes: What the user should know about how the data were read.
        weights: N weights w_n in the loss: how often a trainer visits the example, over the mean. Empty: all are 1.
        recipe: What the file of a trainer says of every visit; None without such a file.
        framings: Height and width of the original of each image, and top and left of its crop, as its trainer records
            them. Empty: images are whole originals.

    Example:
        >>> pixels = np.zeros((2, 1, 8, 8), np.uint8)
        >>> data = Dataset(("a", "b"), pixels, (("anna",), ("anna", "ben")), (None, "a cat"))
        >>> data.unit_ids, data.examples_of("anna").tolist(), data.images([0]).min().item()
        (('anna', 'ben'), [0, 1], -1.0)
    """

    ids: tuple[str, ...]
    pixels: np.ndarray | Ragged
    units: Sequence[tuple[str, ...]]
    captions: Labels
    classes: Labels = field(default=(), kw_only=True)
    notes: tuple[str, ...] = ()
    weights: tuple[float, ...] = field(default=(), kw_only=True)
    recipe: Recipe | None = field(default=None, kw_only=True)
    framings: tuple[Framing, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            DataError: Pixels are no images, a field has another length than `ids`, ids repeat, an example has no unit,
                its units are no tuple or list, a text is not valid UTF-8, or a weight is not above 0.
        """
        require_images(self.pixels)
        if not self.classes:
            object.__setattr__(self, "classes", (None,) * len(self.ids))
        for name in ("pixels", "units", "captions", "classes", *self._optional):
            if len(getattr(self, name)) != len(self.ids):
                raise DataError(f"There are {len(self.ids)} ids, but {len(getattr(self, name))} {name}.")
        require_texts(self)
        require_weights(self.weights)
        ids = tuple(map(normalise, self.ids))
        units = composed_units(self.units, ids)
        captions, classes = _composed(self.captions), _composed(self.classes)
        weights = tuple(map(float, self.weights)) if set(self.weights) - {1} else ()
        classes = captions if classes == captions else classes
        vars(self).update(ids=ids, units=units, captions=captions, classes=classes, weights=weights)
        require_unique(self.ids)

    def __repr__(self) -> str:
        sizes, captions = self.sizes, "with" if any(self.captions) else "without"
        images = f"{len(self):,} images of {count_shapes(sizes)} in {'colour' if sizes[0][0] == 3 else 'grey'}"
        return f"Dataset({images}, {len(self.unit_ids):,} units, {captions} captions, {self.fingerprint[:12]})"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width (C, H, W) of every image; a `DataError` where they have several shapes."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @property
    def _optional(self) -> tuple[str, ...]:
        """Fields that are there and may be empty."""
        return tuple(name for name in ("weights", "framings") if getattr(self, name))

    @property
    def framed_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Channels, height and width of each image, and its framing where there is one."""
        framings = self.framings or ((),) * len(self)
        return tuple((*size, *own) for size, own in zip(self.sizes, framings, strict=True))

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Channels, height and width of each image."""
        return self.pixels.shapes if isinstance(self.pixels, Ragged) else (self.size,) * len(self)

    @cached_property
    def fingerprints(self) -> Fingerprints:
        """SHA-256 (hex) of each image: its shape and its decoded pixels."""
        return Fingerprints.of_images(self.pixels[n] for n in range(len(self)))

    @property
    def tensor(self) -> torch.Tensor | Ragged:
        """The pixels as a tensor that shares their memory, or as `Ragged` tensors."""
        pixels = self.pixels
        return pixels.map(artefacts.to_tensor) if isinstance(pixels, Ragged) else artefacts.to_tensor(pixels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, fingerprints of the images, units and captions; and of weights, where there are any.

        Classes are not part of it: nothing is trained on them. What depends on classes records `class_inputs` too.
        """
        return artefacts.digest(self._parts)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 (hex) of each part of the fingerprint by itself, to say in what two data sets differ."""
        return {name: artefacts.digest(part) for name, part in self._parts.items()}

    @property
    def _parts(self) -> dict[str, Sequence[Any]]:
        parts: dict[str, Sequence[Any]] = {
            "ids": self.ids,
            "pixels": self.fingerprints,
            "units": self.units,
            "captions": self.captions,
        }
        return parts | ({"weights": self.weights} if self.weights else {})

    @cached_property
    def ungrouped(self) -> Dataset:
        """The same training examples, each a unit by itself, as they are read without a unit column."""
        return self.with_fields(units=OwnUnits(self.ids))

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
        unit = spelled(unit, self._examples_by_unit)
        if unit not in self._examples_by_unit:
            raise DataError(unknown("unit", unit, self.unit_ids))
        return np.array(self._examples_by_unit[unit], dtype=np.int64)

    def index_of(self, id: str) -> int:
        """Return the index of the training example `id`.

        Raises:
            DataError: There is no such training example.
        """
        id = spelled(id, self._index_by_id)
        if id not in self._index_by_id:
            raise DataError(unknown("training example", id, self.ids))
        return self._index_by_id[id]

    def images(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """The images as a model sees them, pixel / 127.5 - 1: float32 [n, C, H, W] in [-1, 1], all of one shape."""
        pixels = self.pixels[self._rows(indices)]
        if isinstance(pixels, Ragged):
            return pixels.shape
        return from_pixels(torch.from_numpy(pixels))

    def select(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The training examples at `indices`, in that order, with all their fields, and without notes on the whole."""
        rows = self._rows(indices)
        names = ("ids", "units", "captions", "classes", *self._optional)
        fields: dict[str, Any] = {name: tuple(getattr(self, name)[n] for n in rows) for name in names}
        return Dataset(pixels=self.pixels[rows], recipe=self.recipe, **fields)

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


def _composed(texts: Labels) -> Labels:
    return tuple(text and normalise(text) for text in texts)
