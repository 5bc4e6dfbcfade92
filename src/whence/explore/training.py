"""The training images of a collection: ids, units, captions, and the pixels of those that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whence.data import Dataset
from whence.data.own_units import OwnUnits


@dataclass(frozen=True, eq=False)
class Training:
    """N training images. Of scores, only some of their pixels were kept; of credit perhaps none."""

    ids: tuple[str, ...]  # N ids
    units: Sequence[tuple[str, ...]]  # the units of every image
    kept: Dataset | None  # those whose pixels are there; None where none are

    @classmethod
    def of(cls, data: Dataset) -> Training:
        """All images of a data set."""
        return cls(data.ids, data.units, data)

    @cached_property
    def grouped(self) -> bool:
        """Whether a unit is more than one image, so that pages speak of contributors."""
        return self.units != OwnUnits(self.ids)

    @property
    def noun(self) -> str:
        """What pages call a unit."""
        return "contributor" if self.grouped else "training image"

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of every id."""
        return {id: n for n, id in enumerate(self.ids)}

    @cached_property
    def images_of(self) -> dict[str, list[str]]:
        """The ids of the images of every unit."""
        found: dict[str, list[str]] = {}
        for id, own in zip(self.ids, self.units, strict=True):
            for unit in own:
                found.setdefault(unit, []).append(id)
        return found

    @cached_property
    def _kept_rows(self) -> dict[str, int]:
        return {} if self.kept is None else {id: n for n, id in enumerate(self.kept.ids)}

    def units_of(self, id: str) -> tuple[str, ...]:
        """The units of an image."""
        return self.units[self.rows[id]]

    def caption(self, id: str) -> str:
        """The caption of an image; empty where there is none or where it was not kept."""
        return (self.kept.captions[self._kept_rows[id]] or "") if self.kept and id in self._kept_rows else ""

    def pixels(self, id: str) -> np.ndarray | None:
        """The pixels of an image, uint8 [C, H, W]; None where they were not kept."""
        return self.kept.pixels[self._kept_rows[id]] if self.kept and id in self._kept_rows else None

    def distances(self, picture: np.ndarray) -> dict[str, float]:
        """Return the distance by pixels from a picture uint8 [C, H, W] to every image that was kept, by id.

        It is the Euclidean distance of pixels in [0, 1]. Empty where no image has the size of the picture.
        """
        if self.kept is None or self.kept.size != picture.shape:
            return {}
        far = np.empty(len(self.kept))
        flat = picture.reshape(-1).astype(np.float64)
        for start in range(0, len(far), 512):
            block = self.kept.pixels[start : start + 512].reshape(-1, flat.size)
            far[start : start + len(block)] = np.linalg.norm(block - flat, axis=1) / 255
        return dict(zip(self.kept.ids, far.tolist(), strict=True))

    def unit_distances(self, distances: dict[str, float]) -> dict[str, float]:
        """Return the distance of the most similar image of every unit."""
        nearest: dict[str, float] = {}
        for id, far in distances.items():
            for unit in self.units_of(id):
                nearest[unit] = min(far, nearest.get(unit, far))
        return nearest

    def search(self, text: str) -> list[str]:
        """Return the ids of the images whose id or caption contains a text, whatever the case; the exact id first."""
        wanted = text.casefold()
        found = [id for id in self.ids if wanted in id.casefold() or wanted in self.caption(id).casefold()]
        return sorted(found, key=lambda id: id != text)

    def search_units(self, text: str) -> list[str]:
        """Return the units whose name contains a text, whatever the case; the exact name first."""
        found = [unit for unit in self.images_of if text.casefold() in unit.casefold()]
        return sorted(found, key=lambda unit: unit != text)
