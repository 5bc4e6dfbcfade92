"""Products and norms of features in float64, without a copy of all features in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from whence.errors import NotFiniteError

#: Rows or columns of features that are held in float64 at a time.
BLOCK = 1024


def product(left: Tensor, right: Tensor) -> Tensor:
    """LᵀR in float64 [i, j] of L [n, i] and R [n, j], summed over blocks of n."""
    total = left.new_zeros(left.shape[1], right.shape[1], dtype=torch.float64)
    for a, b in zip(torch.split(left, BLOCK), torch.split(right, BLOCK), strict=True):
        total.addmm_(a.double().T, b.double())
    return total


def rotated(features: Tensor, basis: Tensor) -> Tensor:
    """ΦV in float64 [n, r] of Φ [n, p] and V float64 [p, r], block by block of n."""
    found = basis.new_empty(len(features), basis.shape[1])
    for rows, out in zip(torch.split(features, BLOCK), torch.split(found, BLOCK), strict=True):
        torch.mm(rows.double(), basis, out=out)
    return found


def row_norms(features: Tensor, what: str) -> Tensor:
    """Return the Euclidean norms of rows, float64 [n], of features [n, p]; `what` names a row in messages.

    Raises:
        NotFiniteError: A feature is not finite.
    """
    norms: Tensor = torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)
    bad = (~norms.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise NotFiniteError(f"The features of {what} {bad[0]} (from 0) are not finite ({len(bad)} of {len(norms)}).")
    return norms


def divided(scores: Tensor, by: Tensor) -> Tensor:
    """Scores [Q, N] divided in place; 0 where the divisor is 0, as it is for an example without a gradient."""
    return scores.div_(by.masked_fill(by == 0, math.inf))
