"""The counterfactual landscape of a picture: what would have been drawn without each unit, and placebos beside it.

runs/ens/landscapes/0-3/shards/00000.safetensors    pictures in blocks: the factual one, U counterfactuals, P placebos
runs/ens/landscapes/0-3/distances.safetensors       how far each is from the factual one

The counterfactuals are exact. But the distance of one of them is not the influence of its unit: units with similar code
words have similar survivors and distances, and fewer members alone move a picture. Only a distance that placebos don't
reach is a reason to credit a unit (`whence.ensemble.influence`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Artefact
from whence.ensemble.influence import Influence
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import units_key
from whence.errors import ArtefactError, DataError
from whence.notebook import Plot
from whence.similarity.embedding import Embedder
from whence.statistics.placebo_test import LEVEL


@dataclass(frozen=True)
class Landscape(Artefact):
    """All counterfactuals of one picture, and placebos."""

    kind = "landscape"

    @property
    def sample(self) -> str:
        """SEED/INDEX of the picture."""
        return str(self.manifest.made["sample"])

    @property
    def together(self) -> tuple[str, ...]:
        """The units that are left out together; empty if each unit is left out by itself."""
        return tuple(self.manifest.made["together"])

    @cached_property
    def units(self) -> tuple[str, ...]:
        """The U units in the order of the codebook; units that are left out together are a single one, "17+230"."""
        return tuple(artefacts.read_table(self.path / "units.parquet")["unit"])

    @cached_property
    def _distances(self) -> dict[str, Tensor]:
        return artefacts.read_tensors(self.path / "distances.safetensors")

    @property
    def distances(self) -> Tensor:
        """Euclidean distance of every unit's counterfactual from the factual picture, pixels in [0, 1]; float64 [U]."""
        return self._distances["units"]

    @property
    def placebo_distances(self) -> Tensor:
        """Euclidean distance of every placebo from the factual picture; float64 [P]."""
        return self._distances["placebos"]

    def influence(self, level: float = LEVEL) -> Influence:
        """The influence of the units by distance, tested against the placebos."""
        return Influence(self.sample, self.units, self.distances, self.placebo_distances, level)

    @property
    def factual(self) -> Tensor:
        """The picture of all members, drawn in the canonical batch of the landscape; float32 [C, H, W] in [-1, 1]."""
        return self._block(0)[0]

    def counterfactual(self, unit: str) -> Tensor:
        """Return the picture without a unit (or without units together, "17+230"), float32 [C, H, W] in [-1, 1].

        Raises:
            DataError: There is no such unit.
        """
        if unit not in self.units:
            raise DataError(f"There is no unit {unit!r} in the landscape of {self.sample}: {len(self.units):,} units.")
        block, row = divmod(1 + self.units.index(unit), self.manifest.made["block"])
        return self._block(block)[row]

    def counterfactuals(self) -> Iterator[Tensor]:
        """Yield all counterfactuals in the order of the units, in blocks float32 [k, C, H, W]."""
        return self._stream(1, 1 + len(self.units))

    def placebos(self) -> Iterator[Tensor]:
        """Yield all placebos in blocks float32 [k, C, H, W]."""
        return self._stream(1 + len(self.units), 1 + len(self.units) + self.manifest.made["placebos"])

    def plot(self) -> Plot:
        """Return a plot of the distances of units and placebos, from the largest, with the level of a named unit."""
        from whence.ensemble.landscape_plot import plot_landscape

        return plot_landscape(self)

    def _repr_html_(self) -> str:
        from whence.ensemble.landscape_plot import landscape_html

        return landscape_html(self)

    def _block(self, block: int) -> Tensor:
        return artefacts.read_tensors(self.path / shard(block))["pictures"]

    def _stream(self, start: int, stop: int) -> Iterator[Tensor]:
        """Yield the pictures from position `start` to `stop`, shard by shard."""
        size = self.manifest.made["block"]
        for block in range(start // size, -(-stop // size)):
            first = block * size
            yield self._block(block)[max(0, start - first) : stop - first]


def landscapes(ensemble: Ensemble, *, groups: bool = False) -> list[Landscape]:
    """All landscapes that this ensemble has drawn, sorted by sample: of single units, or of units left out together."""
    paths = artefacts.whole(ensemble.path / "landscapes", "*")
    paths = [path for path in paths if ("-without-" in path.name) == groups]
    drawn = [Landscape.open(path) for path in paths if _ensemble_of(path) == ensemble.manifest.fingerprint]
    return sorted(drawn, key=lambda landscape: [int(part) for part in landscape.sample.split("/")])


def open_landscapes(ensemble: Ensemble, samples: Sequence[str]) -> list[Landscape]:
    """Return the landscapes of some pictures, in that order.

    Raises:
        ArtefactError: One has not been drawn by this ensemble, or is damaged.
    """
    drawn = []
    for sample in samples:
        path = landscape_path(ensemble, sample)
        if not path.exists() or _ensemble_of(path) != ensemble.manifest.fingerprint:
            raise ArtefactError(
                f"The landscape of {sample} has not been drawn yet. First: whence ensemble landscape {ensemble.path} "
                f"--samples {sample}"
            )
        drawn.append(Landscape.open(path))
    return drawn


def _ensemble_of(path: Path) -> str:
    """Fingerprint of the ensemble that drew a landscape."""
    return str(artefacts.read_manifest(path, "landscape").inputs["ensemble"])


def landscape_path(ensemble: Ensemble, sample: str, together: Sequence[str] = ()) -> Path:
    """Directory of a landscape of all units, or of some units that are left out together."""
    name = sample.replace("/", "-")
    return ensemble.path / "landscapes" / (f"{name}-without-{units_key(together)}" if together else name)


def shard(block: int) -> str:
    """Path of a shard inside its landscape."""
    return f"shards/{block:05d}.safetensors"


def published_scale(size: tuple[int, int, int]) -> float:
    """Return the factor √(3·256² / (C·H·W)) from a distance of pictures of `size` to that of the published figures.

    These compare pictures of 256 x 256 pixels in three colours, to which a picture is enlarged by repeating its pixels.
    """
    return math.sqrt(3 * 256**2 / math.prod(size))


def embedding_influence(landscape: Landscape, folder: str | Path, level: float = LEVEL) -> Influence:
    """Return the influence of the units by ‖e(x) - e(x without u)‖₂; e is an embedding model in a local folder."""
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
    """Return the geometric mean of the radii of several pictures; 0 if one of them is 0."""
    return geometric_mean([influence.radius for influence in influences])


def geometric_mean(values: Sequence[float]) -> float:
    """(Π v)^(1/n) of numbers that are not negative; 0 if one of them is 0."""
    return math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0
