"""Pictures that are drawn again without one unit each, all of them one artefact.

RUN/evaluations/removals/KEY/    KEY stands for the ensemble, the samplers and every (sample, unit)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import SamplerConfig
from whence.engine import Engine
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.trajectories import Trajectory, draw_trajectories

#: SEED/INDEX of a picture and the unit that it is drawn without.
Removal = tuple[str, str]


@dataclass(frozen=True)
class Removals:
    """Pictures that an ensemble draws again without one unit each.

    Attributes:
        ensemble: The ensemble.
        trajectories: What to draw for each (sample, unit), by the sampler that drew the sample.
    """

    ensemble: Ensemble
    trajectories: dict[SamplerConfig, dict[Removal, Trajectory]]

    @classmethod
    def make(cls, ensemble: Ensemble, removals: Sequence[Removal], opened: dict[int, Samples]) -> Removals:
        """Return what must be drawn; the order of the removals doesn't matter.

        Args:
            ensemble: A whole ensemble.
            removals: (SEED/INDEX, unit) of every picture.
            opened: Samples by seed that were opened and checked before.
        """
        trajectories: dict[SamplerConfig, dict[Removal, Trajectory]] = {}
        for name, unit in sorted(set(removals)):
            samples, index = find_sample(ensemble, name, opened)
            survivors = tuple(ensemble.codebook.survivors([unit]))
            trajectories.setdefault(samples.sampler, {})[name, unit] = Trajectory(samples.seed, index, survivors)
        return cls(ensemble, trajectories)

    def draw(self, engine: Engine) -> tuple[dict[Removal, Tensor], Manifest]:
        """Draw the pictures unless they are there; return them, float32 [C, H, W] each, and their manifest."""

        def build(part: Path) -> None:
            pictures = []
            for k, (sampler, by_removal) in enumerate(self.trajectories.items()):
                scratch = part / artefacts.RESUME / f"sampler-{k}"
                trajectories = list(by_removal.values())
                pictures.append(draw_trajectories(self.ensemble, trajectories, sampler, scratch, engine))
            artefacts.write_tensors(part / "pictures.safetensors", {"pictures": torch.cat(pictures)})

        manifest = artefacts.ensure(self._path, "removals", inputs=self._inputs, made=self._made, build=build)
        engine.report(1, 1)
        pictures = artefacts.read_tensors(self._path / "pictures.safetensors")["pictures"]
        removals = [removal for by_removal in self.trajectories.values() for removal in by_removal]
        return dict(zip(removals, pictures, strict=True)), manifest

    def missing(self) -> dict[SamplerConfig, list[Trajectory]]:
        """Return the trajectories that `draw` would draw, by sampler."""
        if artefacts.existing(self._path, "removals", inputs=self._inputs, made=self._made) is not None:
            return {}
        return {sampler: list(by_removal.values()) for sampler, by_removal in self.trajectories.items()}

    @property
    def _inputs(self) -> dict[str, str]:
        return {"ensemble": self.ensemble.manifest.fingerprint}

    @property
    def _made(self) -> dict[str, Any]:
        groups = self.trajectories.items()
        return {"groups": [{"sampler": sampler.record(), "removals": list(removals)} for sampler, removals in groups]}

    @property
    def _path(self) -> Path:
        key = artefacts.digest([self._inputs, self._made])[:12]
        return self.ensemble.path / "evaluations" / "removals" / key
