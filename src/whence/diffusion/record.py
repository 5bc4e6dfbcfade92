"""The record of a training run: what every step saw, in one file of ``record/`` for the steps between two saves.

It holds rows (into ``examples.parquet``), visit counts, timesteps, flips and losses, each [steps, B], and the learning
rates [steps]; with caption dropout also which captions were dropped. The noise is not stored: it is `Draws` of (seed,
id, visit). So is the noise of sampled latents, `posterior_noise`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import TrainingConfig
from whence.diffusion.draws import Draws, posterior_noise
from whence.diffusion.flow_times import FlowTimes
from whence.diffusion.visits import Visits
from whence.errors import ArtefactError


@dataclass
class Recorder:
    """Collects the steps since the last save and writes them as one file."""

    path: Path
    first: int = 0
    steps: list[dict[str, Tensor]] = field(default_factory=list)

    def add(self, visits: Visits, losses: Tensor, rate: float) -> None:
        """Note one step: its visits, their losses [B] and the learning rate."""
        step = {
            "rows": torch.from_numpy(visits.rows).int(),
            "visits": torch.from_numpy(visits.counts).int(),
            "timesteps": (visits.t if visits.t.is_floating_point() else visits.t.int()).cpu(),
            "flipped": torch.from_numpy(visits.flipped),
            "losses": losses.float(),
            "learning_rate": torch.tensor(rate, dtype=torch.float64),
        }
        if visits.dropped is not None:
            step["dropped"] = torch.from_numpy(visits.dropped)
        self.steps.append(step)

    def write(self, step: int) -> None:
        """Write the steps from the last save up to `step`; written again after a crash, it is the same."""
        if self.steps:
            stacked = {name: torch.stack([step[name] for step in self.steps]) for name in self.steps[0]}
            artefacts.write_tensors(self.path / "record" / f"{self.first:08d}.safetensors", stacked)
        self.first, self.steps = step, []


@dataclass(frozen=True)
class Record:
    """The record of the finished run in a directory, checked by hash when it is first read."""

    path: Path

    @cached_property
    def _manifest(self) -> Manifest:
        return artefacts.read_manifest(self.path, "model")

    @cached_property
    def training(self) -> TrainingConfig:
        """The settings of the run."""
        return TrainingConfig(**self._manifest.made["training"])

    @cached_property
    def timesteps(self) -> int:
        """Number T of timesteps of the run's process."""
        return int(self._manifest.made["model"]["timesteps"])

    @cached_property
    def draws(self) -> Draws:
        """The draws of the run, by visit counts."""
        config, process = self.training, self._manifest.made["model"]
        times, offset = FlowTimes.of_record(process), process.get("noise_offset", 0.0)
        return Draws(config.seed, self.timesteps, config.shared_noise, config.antithetic, times, offset)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of the examples that the run could see."""
        return tuple(self._examples["id"])

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Weight of each of these examples in the loss."""
        return tuple(self._examples["weight"])

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        """The ids, after a check that the rows of all steps are among them."""
        rows = self["rows"]
        if rows.min() < 0 or rows.max() >= len(self.ids):
            raise ArtefactError(f"The record in {self.path} is damaged: it names examples that the run doesn't have.")
        return self.ids

    @cached_property
    def _examples(self) -> dict[str, list[Any]]:
        return _read_examples(self.path, self._manifest)

    @cached_property
    def _steps(self) -> dict[str, Tensor]:
        return _read_steps(self.path, self._manifest)

    def __len__(self) -> int:
        return self.training.steps

    def __getitem__(self, name: str) -> Tensor:
        """One column: rows, visits, timesteps, flipped, dropped, losses ([steps, B]) or learning_rate ([steps])."""
        return self._steps[name]

    def batch(self, step: int) -> list[str]:
        """Ids of the examples in the batch of a step."""
        return [self._ids[row] for row in self["rows"][step].tolist()]

    def noise(self, step: int, shape: tuple[int, int, int]) -> Tensor:
        """The noise of a step's batch, float32 [B, *shape], made again from the seed, whose timesteps are compared."""
        t, noise = self.draws(self.batch(step), self["visits"][step].numpy(), shape)
        if not torch.equal(t.to(self["timesteps"].dtype), self["timesteps"][step]):
            raise ArtefactError(f"The record in {self.path} is not of its seed: step {step} has other timesteps.")
        return noise

    def posterior_noise(self, step: int, shape: tuple[int, int, int]) -> Tensor:
        """The noise of the samples of latents in a step's batch, float32 [B, *shape], made again from the seed."""
        return posterior_noise(self.training.seed, self.batch(step), self["visits"][step].numpy(), shape)

    def seen(self) -> set[str]:
        """Ids of all examples that were in a batch."""
        return {self._ids[row] for row in np.unique(self["rows"].numpy())}


@artefacts.reader
def _read_examples(path: Path, manifest: Manifest) -> dict[str, list[Any]]:
    """Ids and weights of the examples of a run."""
    artefacts.verify(path, manifest, "examples.parquet")
    columns = artefacts.read_table(path / "examples.parquet")
    return {name: columns[name] for name in ("id", "weight")}


@artefacts.reader
def _read_steps(path: Path, manifest: Manifest) -> dict[str, Tensor]:
    """The columns of a record, with all steps."""
    artefacts.verify(path, manifest, "record/")
    names = sorted(name for name in manifest.files if name.startswith("record/"))
    files = [artefacts.read_tensors(path / name) for name in names]
    return {name: torch.cat([file[name] for file in files]) for name in files[0]}
