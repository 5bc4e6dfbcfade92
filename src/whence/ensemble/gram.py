"""Losses of means of members from the Gram matrices of their residuals; see `whence.ensemble.losses`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Groups of consecutive draws, of which each has a Gram matrix of its own; standard errors are made from them.
GROUPS = 8
#: Largest number of numbers that an intermediate result holds.
HELD = 2**24


def draw_groups(draws: int) -> Tensor:
    """Return the group of each draw, int64 [T]: consecutive draws, so that timesteps are well spread in every group."""
    return torch.arange(draws) * min(GROUPS, draws) // draws


def mean_gram(grams: Tensor, counts: Tensor) -> Tensor:
    """Return the mean Gram matrix [Q, M, M] of those of groups [Q, G, M, M] with so many draws each, float64 [G]."""
    return torch.einsum("qgmn,g->qmn", grams, counts / counts.sum())


def mean_losses(gram: Tensor, sets: Tensor) -> Tensor:
    """Return the losses ℓ(S) of means of members by gram [Q, M, M] and sets, bool [k, M]; float64 [Q, k]."""
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
    """Return sets of members as bool [k, M]."""
    rows = torch.zeros(len(sets), members, dtype=torch.bool)
    for k, group in enumerate(sets):
        rows[k, list(group)] = True
    return rows
