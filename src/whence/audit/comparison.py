"""What pictures are compared with training images by, and how close is a copy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from whence.attribution.target import Target
from whence.audit.memorisation import closeness, threshold_place
from whence.data import Dataset
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.examples import Examples
from whence.errors import ConfigError, DataError
from whence.images import from_pixels, to_pixels
from whence.similarity.embedding import Embedder
from whence.similarity.near_duplicates import near_duplicates


@dataclass(frozen=True)
class Comparison:
    """What pictures are compared by, and the training images, one of each cluster of near-duplicates.

    Attributes:
        target: The model.
        data: The training images.
        by: ``pixels``, ``latents``, or ``embedding:FOLDER`` with the folder of a vision model.
    """

    target: Target
    data: Dataset
    by: str = "pixels"

    def __post_init__(self) -> None:
        """Check what is compared.

        Raises:
            ConfigError: There is no such comparison, or the model has no latents.
        """
        if self.by not in ("pixels", "latents") and not self.by.startswith("embedding:"):
            raise ConfigError(f"Pictures are compared by pixels, latents or embedding:FOLDER; given {self.by!r}.")
        if self.by == "latents" and self.target.encoders.draws_pixels:
            raise ConfigError(f"{self.target.name} draws pixels and has no latents. Compare by pixels.")

    @property
    def scale(self) -> float:
        """What distances are multiplied by: those of pixels are over [0, 1]."""
        return 1 / 255 if self.by == "pixels" else 1.0

    @cached_property
    def clusters(self) -> np.ndarray:
        """The cluster of near-duplicates of every training image, int [N]."""
        return near_duplicates(self.data)[0]

    @cached_property
    def firsts(self) -> np.ndarray:
        """The first image of every cluster."""
        rows: np.ndarray = np.unique(self.clusters, return_index=True)[1]
        return rows

    @cached_property
    def examples(self) -> np.ndarray:
        """What the first image of every cluster is compared by."""
        return self.of_data(self.data.select(self.firsts))

    def of_data(self, data: Dataset) -> np.ndarray:
        """Return what pictures of a data set are compared by, [n, ...]."""
        if self.by == "latents":
            return self.target.encoders.encode(data).x(range(len(data))).numpy()
        return self._of_pixels(require_one_shape(data, "An audit of memorisation"))

    def of_drawn(self, drawn: Examples) -> np.ndarray:
        """Return what drawn pictures are compared by, [n, ...]."""
        if self.by == "latents":
            return drawn.tensor.numpy()
        return self._of_pixels(pixels_of_drawn(drawn))

    def _of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        if self.by == "pixels":
            return pixels
        embeddings: np.ndarray = self._embedder(from_pixels(torch.from_numpy(np.ascontiguousarray(pixels)))).numpy()
        return embeddings

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder.load(self.by.removeprefix("embedding:"))


@dataclass(frozen=True)
class Threshold:
    """The closeness below which a picture is a copy, how it was chosen, and by how many pictures."""

    value: float
    chosen_by: str
    compared: int

    @classmethod
    def of(cls, comparison: Comparison, held_out: Dataset | None, stated: float | None) -> Threshold:
        """Return the threshold: as stated, or the k-th smallest closeness of held-out pictures, or of training images.

        Training images are compared with the others, each without its own near-duplicates.

        Raises:
            DataError: There are too few training images.
        """
        if stated is not None:
            return cls(stated, "stated", 0)
        if held_out is not None:
            found, kind = closeness(comparison.of_data(held_out), comparison.examples), "held-out pictures"
        else:
            labels = np.arange(len(comparison.firsts))
            found = closeness(comparison.examples, comparison.examples, (labels, labels))
            kind = "training images, compared with the other ones"
        values = found.values[~np.isnan(found.values)]
        if not len(values):
            raise DataError("There are too few training images to say what is close. Give --threshold.")
        place = threshold_place(len(values))
        others = "any" if place == 1 else f"all but {place - 1:,}"
        return cls(float(np.sort(values)[place - 1]), f"{others} of {len(values):,} {kind}", len(values))


def pixels_of_drawn(drawn: Examples) -> np.ndarray:
    """Return drawn pictures as pixels, uint8 [Q, C, H, W]."""
    if isinstance(drawn.pictures, Tensor):
        pixels: np.ndarray = drawn.pictures.numpy()
        return pixels
    return to_pixels(drawn.tensor)
