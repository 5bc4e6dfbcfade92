"""Repeated: a condition that few values of occur, such as embedded captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.shards import Shards

#: A text, or the shape of a picture.
T = TypeVar("T", str, tuple[int, ...])


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


def distinct_rows(values: Sequence[T]) -> tuple[list[T], Tensor]:
    """Return the distinct texts or sizes in their order, and which of them each one is, int64 [n].

    Example:
        >>> distinct_rows(["b", "a", "b"])
        (['a', 'b'], tensor([1, 0, 1]))
    """
    distinct = sorted(set(values))
    index = {value: n for n, value in enumerate(distinct)}
    return distinct, torch.tensor([index[value] for value in values])
