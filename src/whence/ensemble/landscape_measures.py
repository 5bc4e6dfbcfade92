"""Further measures of a landscape: at the published scale, between embeddings, and of pictures in black and white."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from whence.ensemble.influence import Influence
from whence.ensemble.landscape import Landscape
from whence.similarity.embedding import Embedder
from whence.statistics.placebo_test import LEVEL


def published_scale(size: tuple[int, int, int]) -> float:
    """Return the factor from a distance between pictures of `size` to that of the published figures.

    These compare pictures of 256 x 256 pixels in three colours. A picture that is enlarged to this size by repeating
    its pixels has √(3·256² / (C·H·W)) times the distance.

    Example:
        >>> published_scale((3, 32, 32)), round(published_scale((1, 8, 8)), 2)
        (8.0, 55.43)
    """
    return math.sqrt(3 * 256**2 / math.prod(size))


def embedding_influence(landscape: Landscape, folder: str | Path, level: float = LEVEL) -> Influence:
    """Return the influence of the units by the distance between embeddings, ‖e(x) - e(x without u)‖₂.

    Args:
        landscape: A landscape.
        folder: An embedding model (CLIP, DINO ...) as a local folder.
        level: Family-wise error.
    """
    embed = Embedder.load(folder)
    factual = embed(landscape.factual[None])

    def distances(blocks: Iterable[Tensor]) -> Tensor:
        norms = [torch.linalg.vector_norm((embed(block) - factual).double(), dim=1) for block in blocks]
        return torch.cat([torch.zeros(0, dtype=torch.float64), *norms])

    effects, placebos = distances(landscape.counterfactuals()), distances(landscape.placebos())
    return Influence(landscape.sample, landscape.units, effects, placebos, level)


@dataclass(frozen=True)
class BinaryLandscape:
    """A landscape of pictures in black and white. There a counterfactual may not differ from the picture at all.

    Attributes:
        sample: SEED/INDEX.
        changed_pixels: Number of pixels that change without each unit, int64 [U].
        placebo_changed_pixels: Number of pixels that change with each placebo, int64 [P].
    """

    sample: str
    changed_pixels: Tensor
    placebo_changed_pixels: Tensor

    @property
    def radius(self) -> float:
        """The largest distance, √ of the largest number of pixels that change."""
        return float(self.changed_pixels.max().sqrt())

    @property
    def certifying_units(self) -> int:
        """Number of units without which exactly the same picture is drawn."""
        return int((self.changed_pixels == 0).sum())

    @property
    def unattributable(self) -> bool:
        """Whether no unit, left out by itself, changes a pixel: the proof that no single unit was needed."""
        return self.certifying_units == len(self.changed_pixels)


def binary_landscape(landscape: Landscape) -> BinaryLandscape:
    """Return a landscape in black and white: a pixel is white if its value is above the middle of the range."""
    factual = landscape.factual > 0

    def changed_pixels(blocks: Iterable[Tensor]) -> Tensor:
        counts = [((block > 0) != factual).flatten(1).sum(1) for block in blocks]
        return torch.cat([torch.zeros(0, dtype=torch.int64), *counts])

    return BinaryLandscape(
        landscape.sample, changed_pixels(landscape.counterfactuals()), changed_pixels(landscape.placebos())
    )


def geometric_mean_radius(influences: Sequence[Influence]) -> float:
    """Return the geometric mean of the radii of several pictures; 0 if one of them is 0.

    Example:
        >>> two = [Influence("0/0", ("u",), torch.tensor([r]), torch.zeros(1)) for r in (1.0, 4.0)]
        >>> geometric_mean_radius(two)
        2.0
    """
    return geometric_mean([influence.radius for influence in influences])


def geometric_mean(values: Sequence[float]) -> float:
    """(Π v)^(1/n) of numbers that are not negative; 0 if one of them is 0."""
    return math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0
