"""Correction of p-values for their number."""

from __future__ import annotations

import torch
from torch import Tensor


def holm(chances: Tensor) -> Tensor:
    """Return chances corrected for their number by Holm's step-down procedure (Holm 1979), in the order given.

    Example:
        >>> holm(torch.tensor([0.125, 0.03125, 0.5])).tolist()
        [0.25, 0.09375, 0.5]
    """
    ascending, order = torch.sort(chances)
    steps = torch.arange(len(chances), 0, -1)
    corrected = (ascending * steps).cummax(0).values.clamp(max=1.0)
    return torch.empty_like(chances).scatter_(0, order, corrected)
