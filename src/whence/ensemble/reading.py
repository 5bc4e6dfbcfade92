"""Other ways to read a landscape: at the published scale, with another eye, or in black and white."""

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
    """Return the factor from a native distance to that of the published figures.

    They compare pictures at 256 x 256 pixels in three colours. A picture that is enlarged by repeating its pixels has
    there √(3·256² / (C·H·W)) times the distance.

    Example:
        >>> published_scale((3, 32, 32)), round(published_scale((1, 8, 8)), 2)
        (8.0, 55.43)
    """
    return math.sqrt(3 * 256**2 / math.prod(size))


def embedded(landscape: Landscape, folder: str | Path, level: float = LEVEL) -> Influence:
    """Return who mattered by the distance between embeddings, ‖e(x) - e(x without u)‖₂, against placebos.

    Args:
        landscape: A landscape.
        folder: An embedding model (CLIP, DINO ...) as a local folder.
        level: Family-wise error.
    """
    embed = Embedder.load(folder)
    factual = embed(landscape.factual[None])

    def distances(blocks: Iterable[Tensor]) -> Tensor:
        found = [torch.linalg.vector_norm((embed(block) - factual).double(), dim=1) for block in blocks]
        return torch.cat([torch.zeros(0, dtype=torch.float64), *found])

    effects, beside = distances(landscape.counterfactuals()), distances(landscape.placebos())
    return Influence(landscape.sample, landscape.units, effects, beside, level)


@dataclass(frozen=True)
class Binarised:
    """A landscape in black and white, where a picture may not change at all.

    Attributes:
        sample: SEED/INDEX.
        changed: Pixels that change without each unit, int64 [U].
        placebos: Pixels that change with each placebo, int64 [P].
    """

    sample: str
    changed: Tensor
    placebos: Tensor

    @property
    def radius(self) -> float:
        """The largest distance, √ of the number of pixels that change."""
        return float(self.changed.max().sqrt())

    @property
    def certifying(self) -> int:
        """Units without which exactly the same picture is drawn."""
        return int((self.changed == 0).sum())

    @property
    def unattributable(self) -> bool:
        """Whether leaving out any single unit, whichever, changes nothing: proof that no unit was needed."""
        return self.certifying == len(self.changed)


def binarised(landscape: Landscape) -> Binarised:
    """Read a landscape with every pixel either on or off, as its value is above the middle of the range or not."""
    factual = landscape.factual > 0

    def changed(blocks: Iterable[Tensor]) -> Tensor:
        found = [((block > 0) != factual).flatten(1).sum(1) for block in blocks]
        return torch.cat([torch.zeros(0, dtype=torch.int64), *found])

    return Binarised(landscape.sample, changed(landscape.counterfactuals()), changed(landscape.placebos()))


def geometric_mean_radius(readings: Sequence[Influence]) -> float:
    """Return the geometric mean of the radii of several pictures; 0 if one of them is 0.

    Example:
        >>> two = [Influence("0/0", ("u",), torch.tensor([r]), torch.zeros(1)) for r in (1.0, 4.0)]
        >>> geometric_mean_radius(two)
        2.0
    """
    return geometric_mean([one.radius for one in readings])


def geometric_mean(values: Sequence[float]) -> float:
    """(Π v)^(1/n) of numbers that are not negative; 0 if one of them is 0."""
    return math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0
