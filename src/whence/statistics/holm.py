"""Holm's correction of p-values for their number."""

from __future__ import annotations

import torch
from torch import Tensor


def holm(p_values: Tensor) -> Tensor:
    """Return p-values corrected for their number by Holm's step-down procedure (Holm 1979), in the same order.

    Example:
        >>> holm(torch.tensor([0.125, 0.03125, 0.5])).tolist()
        [0.25, 0.09375, 0.5]
    """
    ascending, order = torch.sort(p_values)
    steps = torch.arange(len(p_values), 0, -1)
    corrected = (ascending * steps).cummax(0).values.clamp(max=1.0)
    return torch.empty_like(p_values).scatter_(0, order, corrected)
