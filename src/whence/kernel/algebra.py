"""Products and norms of features in float64, without a copy of all features in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from whence.errors import ConfigError, NotFiniteError
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Rows or columns of features that are held in float64 at a time.
BLOCK = 1024


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return LᵀR in float64 [i, j] of L [n, i] and R [n, j], summed over blocks of n."""
    total = left.new_zeros(left.shape[1], right.shape[1], dtype=torch.float64)
    for a, b in zip(torch.split(left, BLOCK), torch.split(right, BLOCK), strict=True):
        total.addmm_(a.double().T, b.double())
    return total


def rotated(features: Tensor, basis: Tensor) -> Tensor:
    """Return ΦV in float64 [n, r] of Φ [n, p] and V float64 [p, r], block by block of n."""
    products = basis.new_empty(len(features), basis.shape[1])
    for rows, out in zip(torch.split(features, BLOCK), torch.split(products, BLOCK), strict=True):
        torch.mm(rows.double(), basis, out=out)
    return products


def weighted(examples: Tensor, weights: Tensor | None) -> Tensor:
    """Return √w_n φ_n for the weights w of examples [n, p], whose products count each w_n times; None for once."""
    return examples if weights is None else examples * weights.double().sqrt()[:, None].to(examples)


def norms(examples: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Return ‖φ_n‖ [N] and ‖φ_q‖ [Q], float64, of features [N, p] and [Q, p], after a check of the features.

    Raises:
        ConfigError: There are no examples or no features, or queries have another width than examples.
        NotFiniteError: A feature is not finite.
    """
    if examples.ndim != 2 or not examples.numel() or queries.ndim != 2 or queries.shape[1] != examples.shape[1]:
        raise ConfigError(
            f"Scores need features of examples [N, p] and of queries [Q, p] with the same p; these are "
            f"{list(examples.shape)} and {list(queries.shape)}."
        )
    return _row_norms(examples, "example"), _row_norms(queries, "query")


def divided(scores: Tensor, by: Tensor) -> Tensor:
    """Divide scores [Q, N] in place; 0 where the divisor is 0, as it is for an example without a gradient."""
    return scores.div_(by.masked_fill(by == 0, math.inf))


def _row_norms(features: Tensor, what: str) -> Tensor:
    row_norms: Tensor = torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)
    bad = (~row_norms.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise NotFiniteError(
            f"The features of {what} {bad[0]} (from 0) are not finite ({len(bad)} of {len(row_norms)})."
        )
    return row_norms
