"""Draw sources: at which timestep and with which noise the gradient of an example is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.draws import Draws, flips


class DrawSource(Protocol):
    """Gives the draws of examples.

    Its subclasses inherit `conditions`, by which the conditions are the same at every draw.
    """

    def __call__(self, x: Tensor, ids: Sequence[str], index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return x as it is to be noised [n, C, H, W], timesteps int64 [n] and noise [n, C, H, W]."""

    def conditions(
        self, conditions: Mapping[str, Tensor], ids: Sequence[str], index: np.ndarray
    ) -> Mapping[str, Tensor]:
        """Return the conditions [n, ...] of the draws, from those of the examples."""
        return conditions

    def record(self) -> dict[str, Any]:
        """Everything that the draws depend on, for a manifest."""


@dataclass(frozen=True)
class OwnDraws(DrawSource):
    """Draws of each example's own, or draws that all examples share."""

    draws: Draws

    def __call__(self, x: Tensor, ids: Sequence[str], index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """The draws of these indices."""
        t, noise = self.draws(ids, index, x.shape[1:])
        return x, t, noise

    def record(self) -> dict[str, Any]:
        """Seed and kind of the draws."""
        return {"source": "own", **vars(self.draws)}


@dataclass(frozen=True)
class RecordedDraws(DrawSource):
    """The draws of a training run between two checkpoints: draw k is the visit `last` - k, cyclically.

    Attributes:
        draws: The draws of the run, whose index is the visit.
        last: The latest visit that every example had before the checkpoint.
        visits: Number of visits that every example had since the checkpoint before it.
        seed: Seed of the run, for flips.
        flip: Whether the run flipped images.
        captions: The caption dropout of the run, if it had any.
    """

    draws: Draws
    last: int
    visits: int
    seed: int
    flip: bool
    captions: CaptionDropout | None = None

    def __call__(self, x: Tensor, ids: Sequence[str], index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """What training drew at these visits."""
        visits = self._visits(index)
        if self.flip:
            flipped = torch.from_numpy(flips(self.seed, ids, visits))
            x = torch.where(flipped.reshape(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
        t, noise = self.draws(ids, visits, x.shape[1:])
        return x, t, noise

    def _visits(self, index: np.ndarray) -> np.ndarray:
        visits: np.ndarray = self.last - np.asarray(index) % self.visits
        return visits

    def conditions(
        self, conditions: Mapping[str, Tensor], ids: Sequence[str], index: np.ndarray
    ) -> Mapping[str, Tensor]:
        """The conditions that training gave at these visits."""
        if self.captions is None:
            return conditions
        return self.captions.apply(conditions, self.captions.drops(ids, self._visits(index)))

    def record(self) -> dict[str, Any]:
        """The draws of the run and the visits."""
        visits: dict[str, Any] = {"last": self.last, "visits": self.visits, "flip": self.flip}
        if self.captions is not None:
            visits["captions"] = self.captions.record()
        return {"source": "recorded", **visits, **vars(self.draws)}


@dataclass(frozen=True)
class TrajectoryDraws(DrawSource):
    """One timestep for each example id; examples are clean pictures that steps of a trajectory predict, noised anew."""

    draws: Draws
    timesteps: Mapping[str, int]

    def __call__(self, x: Tensor, ids: Sequence[str], index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """The examples' timesteps, with the noise of these indices."""
        _, noise = self.draws(ids, index, x.shape[1:])
        return x, torch.tensor([self.timesteps[name] for name in ids]), noise

    def record(self) -> dict[str, Any]:
        """The seed and the timesteps."""
        return {"source": "trajectory", "timesteps": sorted(self.timesteps.items()), "seed": self.draws.seed}
