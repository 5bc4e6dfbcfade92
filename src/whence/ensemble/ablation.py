"""Ablation: a picture is drawn again from the same noise by the members that never saw some units.

The counterfactual picture is exact: it is, bit for bit, what the ensemble of the surviving members draws from this
noise, and none of them was trained on the units. It differs from the factual picture for two reasons: the units are
gone, and fewer members are averaged. So a placebo is drawn beside it: the ablation of code words that no unit has, with
as many survivors.

    runs/ens/ablations/0-3/17/    picture 0/3 without unit 17
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from whence import artefacts, images
from whence.artefacts import Artefact
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import units_key


@dataclass(frozen=True)
class Ablation(Artefact):
    """A picture, its counterfactual and a placebo."""

    kind = "ablation"

    @property
    def sample(self) -> str:
        """SEED/INDEX of the picture."""
        return str(self.manifest.made["sample"])

    @property
    def units(self) -> list[str]:
        """The units that are left out; with `keep_only` the units that every member saw."""
        return list(self.manifest.made["units"])

    @property
    def keep_only(self) -> bool:
        """Whether the counterfactual was drawn by the members that saw the units, instead of those that did not."""
        return bool(self.manifest.made["keep_only"])

    @property
    def survivors(self) -> list[int]:
        """The members that drew the counterfactual."""
        return list(self.manifest.made["survivors"])

    @cached_property
    def pictures(self) -> dict[str, Tensor]:
        """The pictures ``factual``, ``counterfactual`` and, if there is one, ``placebo``; float32 [C, H, W]."""
        return artefacts.read_tensors(self.path / "pictures.safetensors")

    @property
    def distance(self) -> float:
        """Euclidean distance from the factual to the counterfactual picture, pixels in [0, 1]."""
        return images.distance(self.pictures["factual"], self.pictures["counterfactual"]).item()

    @property
    def placebo_distance(self) -> float | None:
        """Distance from the factual to the placebo picture; None if the codebook has no word left."""
        if "placebo" not in self.pictures:
            return None
        return images.distance(self.pictures["factual"], self.pictures["placebo"]).item()


def ablations(ensemble: Ensemble) -> list[Ablation]:
    """All ablations that this ensemble has drawn, sorted by sample and then by units."""
    paths = artefacts.whole(ensemble.path / "ablations", "*/*")
    inputs = {path: artefacts.read_manifest(path, "ablation").inputs for path in paths}
    drawn = [Ablation.open(path) for path in paths if inputs[path]["ensemble"] == ensemble.manifest.fingerprint]
    return sorted(drawn, key=lambda ablation: ([int(part) for part in ablation.sample.split("/")], ablation.path.name))


def ablation_path(ensemble: Ensemble, sample: str, units: Sequence[str], keep_only: bool) -> Path:
    """Directory of an ablation."""
    key = units_key(units)
    return ensemble.path / "ablations" / sample.replace("/", "-") / (f"only-{key}" if keep_only else key)
