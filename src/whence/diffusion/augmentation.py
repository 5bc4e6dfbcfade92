"""Augmentation: what of an image each visit sees: the image or its mirror image, and which sample of its posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from whence.config import TrainingConfig
from whence.diffusion.draws import flips, posterior_noise
from whence.diffusion.examples import Examples


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a training run, a function of (seed, example id, visit).

    Attributes:
        seed: Seed of the run.
        flip: Whether a visit sees the mirror image with probability 1/2.
        sampled: Whether a visit sees a sample of the posterior of the latents, else their mean.
    """

    seed: int
    flip: bool = False
    sampled: bool = False

    @classmethod
    def of(cls, training: TrainingConfig) -> Augmentation:
        """Return that of the settings of a run."""
        return cls(training.seed, training.flip, training.latents == "sample")

    def flips(self, ids: Sequence[str], visits: np.ndarray) -> np.ndarray:
        """Whether these visits of examples see the mirror image, bool [n]."""
        return flips(self.seed, ids, visits) if self.flip else np.zeros(len(ids), bool)

    def x(self, examples: Examples, rows: np.ndarray | Tensor, visits: np.ndarray) -> Tensor:
        """Return what these visits of some rows of one shape denoise, float32 [n, C, H, W]."""
        ids = [examples.ids[row] for row in rows.tolist()]
        size = tuple(examples.x(rows[:1]).shape[1:]) if self.sampled else ()
        noise = posterior_noise(self.seed, ids, visits, size) if self.sampled else None
        return examples.x(rows, self.flips(ids, visits) if self.flip else None, noise)


#: Images as they are, and the mean of their latents.
PLAIN = Augmentation(0)
