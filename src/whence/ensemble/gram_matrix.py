"""Losses of means of members, from the Gram matrix R of the members' residuals.

ℓ(S) = wᵀ R w,   w = 1/|S| on the members of S, else 0
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Groups of consecutive draws, of which each has a Gram matrix of its own; standard errors are made from them.
GROUPS = 8
#: Largest number of numbers that an intermediate result holds.
HELD = 2**24


def draw_groups(draws: int) -> Tensor:
    """Return the group of each draw, int64 [T]: consecutive draws, so that timesteps are well spread in every group.

    Example:
        >>> draw_groups(16).tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    """
    return torch.arange(draws) * min(GROUPS, draws) // draws


def mean_gram(grams: Tensor, counts: Tensor) -> Tensor:
    """Return the mean Gram matrix [Q, M, M] over groups of draws.

    Args:
        grams: Gram matrix of each group, [Q, G, M, M].
        counts: Draws in each group, float64 [G].
    """
    return torch.einsum("qgmn,g->qmn", grams, counts / counts.sum())


def mean_losses(gram: Tensor, sets: Tensor) -> Tensor:
    """Return the losses of means of members, float64 [Q, k].

    Args:
        gram: Gram matrices, float64 [Q, M, M].
        sets: The members of each mean, bool [k, M].

    Example:
        >>> R = torch.tensor([[[4.0, 0.0], [0.0, 2.0]]], dtype=torch.float64)
        >>> mean_losses(R, torch.tensor([[True, False], [True, True]])).tolist()
        [[4.0, 1.5]]
    """
    weights = sets.double() / sets.sum(1, keepdim=True)
    rows = max(1, HELD // max(1, gram.shape[0] * gram.shape[-1]))
    return torch.cat([((block @ gram) * block).sum(-1) for block in torch.split(weights, rows)], dim=1)


def expected_losses(gram: Tensor, left: Tensor) -> Tensor:
    """Return the mean of the losses over all sets of left[k] members, float64 [Q, k].

    It is (mean of the diagonal + (left - 1) · mean off the diagonal) / left.
    """
    members = gram.shape[-1]
    diagonal = gram.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    others = (gram.sum((-2, -1))[:, None] - diagonal) / max(1, members * (members - 1))
    return (diagonal / members + (left - 1) * others) / left


def loss_increases(gram: Tensor, sets: Tensor) -> Tensor:
    """Return the losses of means of members minus the mean over all sets of as many members, float64 [Q, k]."""
    return mean_losses(gram, sets) - expected_losses(gram, sets.sum(1))


def indicator(sets: Sequence[Sequence[int]], members: int) -> Tensor:
    """Return sets of members as bool [k, M].

    Example:
        >>> indicator([[0, 2]], 3).tolist()
        [[True, False, True]]
    """
    rows = torch.zeros(len(sets), members, dtype=torch.bool)
    for k, group in enumerate(sets):
        rows[k, list(group)] = True
    return rows
