"""Draws with little noise, at which a model shows best which pictures it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch

from whence.diffusion.draws import Draws
from whence.diffusion.philox import CPU
from whence.errors import ConfigError

#: The part of the timesteps that is used, from the one with least noise on.
PART = 0.25
#: Draws among which those of this part are looked for.
SEARCHED = 4096


@dataclass(frozen=True)
class LowNoiseDraws(Draws):
    """The draws of a seed whose timestep is in the first quarter, the same for all pictures, in their order.

    With more noise a picture that was seen and one that was not are denoised alike. Draws that all pictures share make
    their losses comparable.

    Example:
        >>> t, _ = LowNoiseDraws.of(Draws(seed=0, timesteps=1000))(["a", "b"], [0, 1], (1, 8, 8))
        >>> bool((t < 250).all())
        True
    """

    @classmethod
    def of(cls, draws: Draws) -> LowNoiseDraws:
        """Return those among other draws, shared by all pictures."""
        settings = {one.name: getattr(draws, one.name) for one in fields(Draws)}
        return cls(**{**settings, "shared": True})

    def __call__(
        self, ids: Sequence[str], index: Sequence[int] | np.ndarray, shape: Sequence[int], device: torch.device = CPU
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return timesteps [n] and noise float32 [n, *shape] of n ids and their draw indices, on a device.

        Raises:
            ConfigError: A draw index is beyond those that were searched.
        """
        at = np.asarray(index, np.int64)
        if len(at) and at.max() >= len(self._places):
            raise ConfigError(f"There are {len(self._places)} draws with little noise; given draw {at.max()}.")
        return super().__call__(ids, self._places[at], shape, device)

    @cached_property
    def _places(self) -> np.ndarray:
        """The indices of the draws with little noise."""
        t, _ = super().__call__([""] * SEARCHED, np.arange(SEARCHED), (1,))
        places: np.ndarray = np.flatnonzero(t.numpy() < max(1.0, PART * self.timesteps))
        return places
