"""The times at which a flow is trained: a table of timesteps, and the density by which they are drawn.

A trainer draws u in [0, 1) and takes the entry ⌊T u⌋ of a table that runs from pure noise down (Esser et al. 2024,
section 3.1, as the trainers of diffusers do):

    σ_i = s (1 - i/T) / (1 + (s - 1) (1 - i/T)),    t_i = T σ_i,    i = 0 ... T-1        (eq. 23; s is the shift)

So u near 1 is little noise. The densities of u, by their quantile functions at v in (0, 1):

    uniform         u = v
    logit_normal    u = 1 / (1 + exp(-m - d Φ⁻¹(v)))
    mode            u = 1 - v - c (cos²(π v / 2) - 1 + v)                                (eq. 20)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.special import expit, ndtri
from torch import Tensor


@dataclass(frozen=True)
class FlowTimes:
    """The timesteps of a flow and their density.

    Attributes:
        timesteps: T, their number.
        shift: s.
        density: The density of u: ``uniform``, ``logit_normal`` or ``mode``.
        logit_mean: m of the logit-normal density.
        logit_std: d of the logit-normal density.
        mode_scale: c of the mode density.

    Example:
        >>> times = FlowTimes(1000, shift=3.0)
        >>> times(np.array([0.0, 0.5])).tolist()
        [1000.0, 750.0]
    """

    timesteps: int = 1000
    shift: float = 1.0
    density: str = "uniform"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = 1.29

    def __call__(self, v: np.ndarray) -> Tensor:
        """The timesteps t of points v in [0, 1), float32 [n]; v uniform gives t of the density."""
        index = np.clip((self.quantile(v) * self.timesteps).astype(np.int64), 0, self.timesteps - 1)
        return self.table[torch.from_numpy(index)]

    def quantile(self, v: np.ndarray) -> np.ndarray:
        """The quantile u of points v in [0, 1), float64 [n]; that of `mode` falls as v grows."""
        if self.density == "logit_normal":
            u: np.ndarray = expit(self.logit_mean + self.logit_std * ndtri(v))
            return u
        if self.density == "mode":
            u = 1 - v - self.mode_scale * (np.cos(np.pi * v / 2) ** 2 - 1 + v)
            return u
        return v

    @cached_property
    def table(self) -> Tensor:
        """t_i, float32 [T], with the rounding of the schedulers of diffusers."""
        sigma = torch.arange(self.timesteps, 0, -1, dtype=torch.float32) / self.timesteps
        return self.shift * sigma / (1 + (self.shift - 1) * sigma) * self.timesteps

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> FlowTimes | None:
        """Return the times of the record of a process; None if it is no flow."""
        if "density" not in record:
            return None
        return cls(**{field.name: record[field.name] for field in fields(cls) if field.name in record})

    def record(self) -> dict[str, Any]:
        """The settings as JSON values; those of other densities are left out."""
        used = {"logit_normal": ("logit_mean", "logit_std"), "mode": ("mode_scale",)}.get(self.density, ())
        return {name: value for name, value in asdict(self).items() if name in ("timesteps", "shift", "density", *used)}
