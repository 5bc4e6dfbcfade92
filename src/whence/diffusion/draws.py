"""Draws (timestep and noise), batches and flips: pure functions of (seed, example id, index), whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from whence.diffusion.flow_times import FlowTimes
from whence.diffusion.philox import CPU, bits, keys, normals

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class Draws:
    """The draws of one seed.

    Timesteps are van der Corput's sequence in base 2 over the draw index, shifted by random bits of the example. The
    first 2^k draws have one timestep in each 2^-k part of [0, T), so 10 draws grow into 100 and are well spread.

    The timesteps of a flow are those at the quantiles of this sequence, which keeps any prefix well spread.

    Attributes:
        seed: Names the whole set of draws.
        timesteps: Number T of timesteps of the diffusion process.
        shared: Use the same draws for every example instead of each example's own.
        antithetic: Draws 2k and 2k+1 share the timestep and have opposite noise.
        times: Timesteps and density of a flow; None for 0 ... T-1, all equally often.
        offset: Size of a normal number for each channel that is added to the noise, a stream of its own.
        canvas: Height and width of the canvas on which noise is drawn, of which examples [C, H, W] get the centre; so
            shared noise is the same at the same place of examples of several shapes. None for their own shape.

    Example:
        >>> draws = Draws(seed=0, timesteps=1000)
        >>> t, noise = draws(["a", "b", "a"], [0, 0, 1], shape=(1, 8, 8))
        >>> alone = draws(["b"], [0], shape=(1, 8, 8))
        >>> bool(t[1] == alone[0][0] and torch.equal(noise[1], alone[1][0]))
        True
    """

    seed: int
    timesteps: int = 1000
    shared: bool = False
    antithetic: bool = False
    times: FlowTimes | None = None
    offset: float = 0.0
    canvas: tuple[int, int] | None = None

    def __call__(
        self, ids: Sequence[str], index: Sequence[int] | np.ndarray, shape: Sequence[int], device: torch.device = CPU
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return timesteps [n] and noise float32 [n, *shape] of n example ids and their draw indices, on a device.

        Timesteps are int64 in 0 ... T-1; those of a flow are float32 in (0, T].
        """
        names = [""] * len(ids) if self.shared else ids
        at = np.asarray(index, np.int64)
        sign = torch.ones(len(ids))
        if self.antithetic:
            sign = torch.from_numpy(1.0 - 2.0 * (at % 2)).float()
            at = at // 2
        noise = normals(keys("noise", self.seed, names), at, on_canvas(shape, self.canvas), device)
        noise = centre(noise, shape)
        if self.offset:
            channels = (shape[0], *[1] * (len(shape) - 1))
            noise = noise + self.offset * normals(keys("noise offset", self.seed, names), at, channels, device)
        return self._timesteps(names, at).to(device), noise * sign.to(device).reshape(-1, *[1] * len(shape))

    def _timesteps(self, names: Sequence[str], index: np.ndarray) -> torch.Tensor:
        """Floor of T times the shifted van der Corput point, in exact integers; of a flow, the time of that point."""
        shift = bits(keys("timestep", self.seed, names), np.zeros(len(names), np.int64), 1)[:, 0]
        points = _reverse32(index.astype(np.uint64)) ^ shift.astype(np.uint64)
        if self.times is not None:
            return self.times((points.astype(np.float64) + 0.5) / 2.0**32)
        return torch.from_numpy(((points * np.uint64(self.timesteps)) >> _HALF).astype(np.int64))

    def record(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        settings: dict[str, Any] = {name: getattr(self, name) for name in ("seed", "timesteps", "shared", "antithetic")}
        settings |= {} if self.times is None else {"times": self.times.record()}
        settings |= {} if self.canvas is None else {"canvas": list(self.canvas)}
        return settings | ({"offset": self.offset} if self.offset else {})


def on_canvas(shape: Sequence[int], canvas: tuple[int, int] | None) -> Sequence[int]:
    """Return the shape (C, height, width) of the canvas on which something of a shape (C, H, W) is drawn."""
    return shape if canvas is None or len(shape) < 3 else (*shape[:-2], *canvas)


def centre(drawn: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return the centre of what is drawn on a canvas [n, C, height, width], in a shape (C, H, W).

    Example:
        >>> centre(torch.arange(4.0).reshape(1, 1, 1, 4), (1, 1, 2)).tolist()
        [[[[1.0, 2.0]]]]
    """
    if tuple(drawn.shape[1:]) == tuple(shape):
        return drawn
    top, left = ((drawn.shape[axis] - shape[axis]) // 2 for axis in (-2, -1))
    return drawn[..., top : top + shape[-2], left : left + shape[-1]]


def _reverse32(values: np.ndarray) -> np.ndarray:
    """Reverse the order of the low 32 bits."""
    for width, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        w, m = np.uint64(width), np.uint64(mask)
        values = ((values >> w) & m) | ((values & m) << w)
    return values & _LOW


def order(seed: int, epoch: int, names: Sequence[str]) -> np.ndarray:
    """A random order of the names for one epoch, int array [N]; the others keep theirs when a name is left out."""
    words = bits(keys("order", seed, names), np.full(len(names), epoch), 2).astype(np.uint64)
    return np.argsort((words[:, 0] << _HALF) | words[:, 1], kind="stable")


_cached_order = lru_cache(maxsize=4)(order)


@dataclass(frozen=True)
class Batches:
    """The batches of one training run.

    Training goes through the examples again and again, in a new random order every epoch; step s takes the positions
    s B ... s B + B - 1. So a visit count is the number of the epoch, and a step is known without those before it.

    Attributes:
        ids: Example ids, N of them.
        size: Examples per step, B.
        seed: Seed of the orders.
    """

    ids: tuple[str, ...]
    size: int
    seed: int

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (indices into `ids`) and visit counts of the examples of a step, both int64 [B]."""
        positions = np.arange(step * self.size, (step + 1) * self.size)
        epochs, offsets = np.divmod(positions, len(self.ids))
        rows = np.empty_like(positions)
        for epoch in np.unique(epochs):
            mask = epochs == epoch
            rows[mask] = _cached_order(self.seed, int(epoch), self.ids)[offsets[mask]]
        return rows, epochs


def flips(seed: int, ids: Sequence[str], visits: np.ndarray) -> np.ndarray:
    """Whether each (example, visit) is seen flipped left to right, bool [n], probability 1/2."""
    return bits(keys("flip", seed, ids), visits, 1)[:, 0] >= 1 << 31


def posterior_noise(seed: int, ids: Sequence[str], visits: np.ndarray, shape: Sequence[int]) -> torch.Tensor:
    """The noise of a sample of the posterior of latents at each (example, visit), float32 [n, *shape]."""
    return normals(keys("posterior", seed, ids), visits, shape)


def caption_drops(seed: int, ids: Sequence[str], visits: np.ndarray, probability: float) -> np.ndarray:
    """Whether each (example, visit) is seen with the empty caption, bool [n]."""
    return bits(keys("caption", seed, ids), visits, 1)[:, 0] < int(probability * 2.0**32)
