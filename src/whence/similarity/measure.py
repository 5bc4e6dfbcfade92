"""How alike two vectors are, by the three measures of the baselines of D-TRAK's study (Zheng et al. 2024)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Measure = Literal["euclidean", "dot", "cosine"]


def similarity(queries: Tensor, examples: Tensor, measure: Measure) -> Tensor:
    """Likeness of every query v_q to every example v_n, larger where they are more alike.

    euclidean: -‖v_q - v_n‖₂;  dot: v_q · v_n;  cosine: v_q · v_n / (‖v_q‖ ‖v_n‖), and 0 where a vector is 0.

    Args:
        queries: [Q, d].
        examples: [n, d].
        measure: One of the three.

    Returns:
        float64 [Q, n].

    Example:
        >>> a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])
        >>> [round(similarity(a, b, measure).item(), 6) for measure in ("euclidean", "dot", "cosine")]
        [-4.0, 9.0, 0.6]
    """
    q, n = queries.double(), examples.double()
    if measure == "euclidean":
        return -torch.cdist(q, n, compute_mode="donot_use_mm_for_euclid_dist")
    if measure == "cosine":
        q, n = torch.nn.functional.normalize(q), torch.nn.functional.normalize(n)
    return q @ n.T
