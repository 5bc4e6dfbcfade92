"""The data set: training examples with ids, pixels, units and captions, in memory and on disk."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts
from whence.artefacts import Manifest
from whence.errors import ArtefactError, DataError
from whence.images import from_pixels

NO_UNIT = "(none)"
"""The unit of the training examples that were given none."""

#: Kind of the artefact.
KIND = "dataset"
#: The file of all pixels.
PIXELS = "pixels.safetensors"
_EXAMPLES = "examples.parquet"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training examples, in a fixed order.

    Attributes:
        ids: N unique, stable strings.
        pixels: uint8 [N, C, H, W]; may be mapped from disk.
        units: N tuples, none of them empty: the units that each training example belongs to.
        captions: N captions; None where there is none.
        notes: What was found while reading and the user should know.

    Example:
        >>> pixels = np.zeros((2, 1, 8, 8), np.uint8)
        >>> data = Dataset(("a", "b"), pixels, (("anna",), ("anna", "ben")), (None, "a cat"))
        >>> data.unit_ids, data.examples_of("anna").tolist(), data.images([0]).min().item()
        (('anna', 'ben'), [0, 1], -1.0)
    """

    ids: tuple[str, ...]
    pixels: np.ndarray
    units: tuple[tuple[str, ...], ...]
    captions: tuple[str | None, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_images(self.pixels)
        lengths = {"pixels": len(self.pixels), "units": len(self.units), "captions": len(self.captions)}
        for name, length in lengths.items():
            if length != len(self.ids):
                raise DataError(f"There are {len(self.ids)} ids, but {length} {name}.")
        _require_text(self.ids, self.units, self.captions)
        _require_unique(self.ids)

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
        """SHA-256 (hex) of the whole: ids, fingerprints of the images, units and captions."""
        parts = {"ids": self.ids, "pixels": self.fingerprints, "units": self.units, "captions": self.captions}
        return artefacts.digest(parts)

    @cached_property
    def ungrouped(self) -> Dataset:
        """The same training examples, each a unit by itself, as they are read without a unit column."""
        found = replace(self, units=tuple((name,) for name in self.ids))
        vars(found)["fingerprints"] = self.fingerprints
        return found

    @cached_property
    def unit_ids(self) -> tuple[str, ...]:
        """The U distinct units, in order of first appearance."""
        return tuple(self._examples_by_unit)

    @cached_property
    def _examples_by_unit(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for n, units in enumerate(self.units):
            for unit in units:
                found.setdefault(unit, []).append(n)
        return found

    @cached_property
    def _index_by_id(self) -> dict[str, int]:
        return {example: n for n, example in enumerate(self.ids)}

    def examples_of(self, unit: str) -> np.ndarray:
        """Return the indices of the training examples that belong to `unit`, ascending.

        Raises:
            DataError: There is no such unit.
        """
        if unit not in self._examples_by_unit:
            raise DataError(_unknown("unit", unit, self.unit_ids))
        return np.array(self._examples_by_unit[unit], dtype=np.int64)

    def index_of(self, id: str) -> int:
        """Return the index of the training example `id`.

        Raises:
            DataError: There is no such training example.
        """
        if id not in self._index_by_id:
            raise DataError(_unknown("training example", id, self.ids))
        return self._index_by_id[id]

    def images(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """The images as a model sees them, pixel / 127.5 - 1: float32 [n, C, H, W] in [-1, 1]."""
        chosen = self.pixels[self._rows(indices)]
        return from_pixels(torch.from_numpy(chosen))

    def select(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The training examples at `indices`, in that order; notes are about the whole and stay behind."""
        chosen = self._rows(indices)
        return Dataset(
            ids=tuple(self.ids[n] for n in chosen),
            pixels=self.pixels[chosen],
            units=tuple(self.units[n] for n in chosen),
            captions=tuple(self.captions[n] for n in chosen),
        )

    def _rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Indices, or a mask, as int64 indices; numpy refuses what is neither or out of range."""
        return np.arange(len(self))[np.asarray(indices) if len(indices) else []]


def write(dataset: Dataset, path: Path) -> Manifest:
    """Write a data set as an artefact of kind ``dataset``; one that is whole already is left as it is.

    Returns:
        Its manifest.

    Raises:
        MismatchError: Another data set is at `path`.
    """
    inputs = {"data": dataset.fingerprint}
    found = artefacts.existing(path, KIND, inputs=inputs, made={})
    if found is not None:
        return found
    facts = {"examples": len(dataset), "units": len(dataset.unit_ids), "notes": list(dataset.notes)}
    with artefacts.create(path, KIND, inputs=inputs, made={}, facts=facts) as part:
        artefacts.write_tensors(part / PIXELS, {"pixels": artefacts.to_tensor(dataset.pixels)})
        columns = {
            "id": dataset.ids,
            "units": dataset.units,
            "caption": dataset.captions,
            "fingerprint": dataset.fingerprints,
        }
        artefacts.write_table(part / _EXAMPLES, {name: list(values) for name, values in columns.items()})
    return artefacts.read_manifest(path, KIND)


def read(path: Path) -> Dataset:
    """Read a data set that `write` wrote; pixels are mapped from disk and not hashed again.

    Returns:
        The data set, with the fingerprints that were recorded.

    Raises:
        ArtefactError: It is not a whole data set, or ids, units, captions or fingerprints are not
            those that the manifest states. For damaged pixels use `artefacts.verify`.
    """
    manifest = artefacts.read_manifest(path, KIND)
    table = artefacts.read_table(path / _EXAMPLES)
    tensors = artefacts.read_tensors(path / PIXELS)
    try:
        dataset = Dataset(
            ids=tuple(table["id"]),
            pixels=tensors["pixels"].numpy(),
            units=tuple(map(tuple, table["units"])),
            captions=tuple(table["caption"]),
            notes=tuple(manifest.facts.get("notes", ())),
        )
        vars(dataset)["fingerprints"] = tuple(table["fingerprint"])
    except (KeyError, TypeError, DataError) as error:
        raise ArtefactError(f"{path} is damaged: {error}") from None
    stated = manifest.inputs.get("data")
    if dataset.fingerprint != stated:
        raise ArtefactError(
            f"{path} is damaged: its training examples have the fingerprint {dataset.fingerprint}, "
            f"recorded was {stated}."
        )
    return dataset


def _require_images(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise DataError(f"Pixels must be uint8 [N, C, H, W], not {pixels.dtype} {list(pixels.shape)}.")
    if pixels.shape[0] == 0:
        raise DataError("The data set has no training example.")
    if pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
        raise DataError(f"Images must have 1 or 3 channels and some pixels, not {list(pixels.shape[1:])}.")


def _require_text(ids: Iterable[Any], units: Iterable[Any], captions: Iterable[Any]) -> None:
    """Ids, units and captions must be text that UTF-8 can hold, and every example must have a unit.

    Raises:
        DataError: One of them isn't.
    """
    for example, own, caption in zip(ids, units, captions, strict=True):
        if not own:
            raise DataError(f"The training example {example!a} has no unit; use {NO_UNIT!r}.")
        for text in (example, *own, *([] if caption is None else [caption])):
            if not isinstance(text, str) or not text.isascii() and text != _utf8(text):
                raise DataError(f"{text!a} of the training example {example!a} is not text in UTF-8.")


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _require_unique(ids: Sequence[str]) -> None:
    repeated = [example for example, count in Counter(ids).items() if count > 1]
    if repeated:
        shown = ", ".join(repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        raise DataError(f"Ids must be unique; {len(repeated)} of them are used more than once: {shown}.")


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(given), known, n=3) or list(known[:3])
    return f"There is no {what} {given!r} among the {len(known)}. Did you mean {', '.join(close)}?"
