"""Pictures that are drawn again without one unit each, many together, as one artefact.

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
from whence.engine import Report
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.trajectories import Trajectory, draw_trajectories

#: SEED/INDEX of a picture and the unit that it is drawn without.
Removal = tuple[str, str]


@dataclass(frozen=True)
class Removals:
    """Pictures that are wanted.

    Attributes:
        ensemble: Who draws them.
        wanted: What to draw for each (sample, unit), by the sampler that drew the sample.
    """

    ensemble: Ensemble
    wanted: dict[SamplerConfig, dict[Removal, Trajectory]]

    @classmethod
    def make(cls, ensemble: Ensemble, removals: Sequence[Removal], opened: dict[int, Samples]) -> Removals:
        """Return what must be drawn; the order of the removals doesn't matter.

        Args:
            ensemble: A whole ensemble.
            removals: (SEED/INDEX, unit) of every picture.
            opened: Samples by seed that were opened and checked before.
        """
        wanted: dict[SamplerConfig, dict[Removal, Trajectory]] = {}
        for name, unit in sorted(set(removals)):
            samples, index = find_sample(ensemble, name, opened)
            survivors = tuple(ensemble.codebook.survivors([unit]))
            wanted.setdefault(samples.sampler, {})[name, unit] = Trajectory(samples.seed, index, survivors)
        return cls(ensemble, wanted)

    def draw(self, workers: int | None, report: Report) -> tuple[dict[Removal, Tensor], Manifest]:
        """Draw the pictures unless they are there; return them, float32 [C, H, W] each, and their manifest."""
        if not self._are_there():
            with artefacts.create(self._path, "removals", inputs=self._inputs, made=self._made) as part:
                found = []
                for k, (sampler, some) in enumerate(self.wanted.items()):
                    scratch = part / artefacts.RESUME / f"sampler-{k}"
                    found.append(
                        draw_trajectories(self.ensemble, list(some.values()), sampler, scratch, workers, report)
                    )
                artefacts.write_tensors(part / "pictures.safetensors", {"pictures": torch.cat(found)})
        report(1, 1)
        pictures = artefacts.read_tensors(self._path / "pictures.safetensors")["pictures"]
        names = [one for some in self.wanted.values() for one in some]
        return dict(zip(names, pictures, strict=True)), artefacts.read_manifest(self._path, "removals")

    def missing(self) -> dict[SamplerConfig, list[Trajectory]]:
        """What `draw` would draw, by sampler."""
        return {} if self._are_there() else {sampler: list(some.values()) for sampler, some in self.wanted.items()}

    def _are_there(self) -> bool:
        return artefacts.existing(self._path, "removals", inputs=self._inputs, made=self._made) is not None

    @property
    def _inputs(self) -> dict[str, str]:
        return {"ensemble": self.ensemble.manifest.fingerprint}

    @property
    def _made(self) -> dict[str, Any]:
        groups = [{"sampler": sampler.record(), "removals": list(some)} for sampler, some in self.wanted.items()]
        return {"groups": groups}

    @property
    def _path(self) -> Path:
        key = artefacts.digest([self._inputs, self._made])[:12]
        return self.ensemble.path / "evaluations" / "removals" / key
