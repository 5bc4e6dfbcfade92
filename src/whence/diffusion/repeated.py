"""Repeated: a condition that few values of occur, such as embedded captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.shards import Shards


@dataclass(frozen=True, eq=False)
class Repeated:
    """A condition of which each distinct value is kept once.

    Attributes:
        values: The distinct values [D, ...].
        rows: Which of them each example has, int64 [N].

    Example:
        >>> Repeated(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 1, 0]))[[0, 2]].tolist()
        [[2.0], [1.0]]
    """

    values: Tensor | Shards
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor | Sequence[int] | np.ndarray) -> Tensor:
        return self.values[self.rows[torch.as_tensor(rows)]]

    def select(self, rows: Tensor) -> Repeated:
        """The condition of some examples, without copies of its values."""
        return Repeated(self.values, self.rows[rows])
