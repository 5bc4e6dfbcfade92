"""Draw sources: of what, at which timestep and with which noise the gradient of an example is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.augmentation import Augmentation
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.philox import CPU


class DrawSource(Protocol):
    """Gives the draws of examples.

    Its subclasses inherit `x` and `conditions`, by which an example and its conditions are the same at every draw.
    """

    def __call__(
        self, ids: Sequence[str], index: np.ndarray, shape: Sequence[int], device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """Return timesteps [n] and noise [n, *shape] on a device."""

    @property
    def sampled(self) -> bool:
        """Whether each draw has a sample of the latents."""
        return False

    @property
    def canvas(self) -> tuple[int, int] | None:
        """Height and width of the canvas on which noise and signs are drawn; None for the examples' own shape."""
        return None

    def x(self, examples: Examples, rows: np.ndarray | Tensor, index: np.ndarray) -> Tensor:
        """Return what is noised at the draws of some rows, float32 [n, C, H, W]."""
        return examples.x(rows)

    def conditions(
        self, conditions: Mapping[str, Tensor], ids: Sequence[str], index: np.ndarray
    ) -> Mapping[str, Tensor]:
        """Return the conditions [n, ...] of the draws, from those of the examples."""
        return conditions

    def record(self) -> dict[str, Any]:
        """Everything that the draws depend on, for a manifest."""


@dataclass(frozen=True)
class OwnDraws(DrawSource):
    """Draws of each example's own, or draws that all examples share.

    Attributes:
        draws: The draws.
        sampled: Whether each draw has a sample of the latents, which is always of the example's own.
    """

    draws: Draws
    sampled: bool = False

    def __call__(
        self, ids: Sequence[str], index: np.ndarray, shape: Sequence[int], device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """The draws of these indices."""
        return self.draws(ids, index, shape, device)

    @property
    def canvas(self) -> tuple[int, int] | None:
        """That of the draws."""
        return self.draws.canvas

    def x(self, examples: Examples, rows: np.ndarray | Tensor, index: np.ndarray) -> Tensor:
        """The examples, or samples of their latents at these draws."""
        return Augmentation(self.draws.seed, sampled=self.sampled).x(examples, rows, index)

    def record(self) -> dict[str, Any]:
        """Seed and kind of the draws."""
        return {"source": "own", **self.draws.record(), **({"latents": "sample"} if self.sampled else {})}


@dataclass(frozen=True)
class RecordedDraws(DrawSource):
    """The draws of a training run between two checkpoints: draw k is the visit `last` - k, cyclically.

    Attributes:
        draws: The draws of the run, whose index is the visit.
        last: The latest visit that every example had before the checkpoint.
        visits: Number of visits that every example had since the checkpoint before it.
        augmentation: What the visits of the run saw of an image.
        captions: The caption dropout of the run, if it had any.
    """

    draws: Draws
    last: int
    visits: int
    augmentation: Augmentation
    captions: CaptionDropout | None = None

    def __call__(
        self, ids: Sequence[str], index: np.ndarray, shape: Sequence[int], device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """What training drew at these visits."""
        return self.draws(ids, self._visits(index), shape, device)

    def x(self, examples: Examples, rows: np.ndarray | Tensor, index: np.ndarray) -> Tensor:
        """What training saw at these visits: the image or its mirror image, and which sample of its latents."""
        return self.augmentation.x(examples, rows, self._visits(index))

    @property
    def sampled(self) -> bool:
        """Whether training saw samples of latents."""
        return self.augmentation.sampled

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
        visits: dict[str, Any] = {"last": self.last, "visits": self.visits, "flip": self.augmentation.flip}
        if self.augmentation.sampled:
            visits["latents"] = "sample"
        if self.captions is not None:
            visits["captions"] = self.captions.record()
        return {"source": "recorded", **visits, **self.draws.record()}


@dataclass(frozen=True)
class TrajectoryDraws(DrawSource):
    """One timestep for each example id; examples are clean pictures that steps of a trajectory predict, noised anew."""

    draws: Draws
    timesteps: Mapping[str, float]

    def __call__(
        self, ids: Sequence[str], index: np.ndarray, shape: Sequence[int], device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """The examples' timesteps, with the noise of these indices."""
        _, noise = self.draws(ids, index, shape, device)
        return torch.tensor([self.timesteps[name] for name in ids], device=device), noise

    def record(self) -> dict[str, Any]:
        """The seed and the timesteps."""
        return {"source": "trajectory", "timesteps": sorted(self.timesteps.items()), "seed": self.draws.seed}
