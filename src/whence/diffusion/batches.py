"""The examples of each training step: a pure function of (seed, example ids, batch size, step).

Training goes through the examples again and again, in a new random order every epoch. Step s takes the positions
s*B ... s*B + B - 1 of that sequence. So an example's visit count is the number of the epoch, and any step can be
computed without those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from whence.diffusion.draws import bits, keys, order


@dataclass(frozen=True)
class Batches:
    """The batches of one training run.

    Attributes:
        ids: Example ids, N of them.
        size: Examples per step, B.
        seed: Seed of the orders.

    Example:
        >>> batches = Batches(("a", "b", "c"), size=2, seed=0)
        >>> rows, visits = batches(1)
        >>> visits.tolist()
        [0, 1]
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
            rows[mask] = _order(self.seed, int(epoch), self.ids)[offsets[mask]]
        return rows, epochs


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, ids: tuple[str, ...]) -> np.ndarray:
    return order(seed, epoch, ids)


def flips(seed: int, ids: Sequence[str], visits: np.ndarray) -> np.ndarray:
    """Whether each (example, visit) is seen flipped left to right, bool [n], probability 1/2."""
    return bits(keys("flip", seed, ids), visits, 1)[:, 0] >= np.uint64(1 << 31)
