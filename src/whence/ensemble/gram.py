"""Losses of mean predictions from the Gram matrices of the members' residuals.

The mean prediction of the members S has the residual Σ_m w_m r_m with w = 1/|S| on S, so on a draw (t, ε) its loss is

    ℓ(S) = wᵀ R w,    R_mm' = w_t ⟨r_m, r_m'⟩ / D,    r_m = network_m(x_t, t) - target,  D pixels and channels

w_t is the weight of the loss of training, 1 for most models.

M forward passes per draw give R. R gives the loss of the full ensemble, of the ablation of every unit and of the
ablation of any group of units, on any picture, drawn by the ensemble or not. Only the mean over draws is an estimate.

R has at most M(M + 1)/2 independent entries. So units with similar code words have similar ablations and share their
influence, whichever of them caused it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor

from whence.ensemble.codebook import Codebook, placebos
from whence.seeds import derived_seed

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


def indicator(sets: Sequence[Sequence[int]], members: int) -> Tensor:
    """Return sets of members as bool [k, M]."""
    rows = torch.zeros(len(sets), members, dtype=torch.bool)
    for k, group in enumerate(sets):
        rows[k, list(group)] = True
    return rows


@dataclass(frozen=True, eq=False)
class GramLosses:
    """Losses of the mean predictions of sets of members; see `SetLosses`.

    Attributes:
        grams: Mean Gram matrices of the residuals in each group of draws, float64 [Q, G, M, M].
        counts: Draws in each group, float64 [G].
        codebook: Which member saw which unit.
    """

    grams: Tensor
    counts: Tensor
    codebook: Codebook

    @property
    def what_draws(self) -> str:
        """What draws without a unit, for estimands."""
        return "mean prediction of the members that never saw the unit"

    @cached_property
    def gram(self) -> Tensor:
        """Mean Gram matrix over all draws, float64 [Q, M, M]."""
        return mean_gram(self.grams, self.counts)

    def of(self, sets: Tensor) -> Tensor:
        """Return the losses of any sets, float64 [Q, k]."""
        return mean_losses(self.gram, sets)

    def expected(self, left: Tensor) -> Tensor:
        """Return the mean of the losses over all sets of left[k] members, float64 [Q, k]."""
        return expected_losses(self.gram, left)

    def placebos(self, removed: int, left: int, count: int) -> Tensor:
        """Return the members that up to `count` ablations of `removed` words of no unit leave, bool [P, M]."""
        return placebo_sets(self.codebook, removed, left, count)

    def at(self, picture: int) -> GramLosses:
        """The losses of one picture, Q = 1."""
        rows = slice(picture, picture + 1)
        own = GramLosses(self.grams[rows], self.counts, self.codebook)
        vars(own)["gram"] = self.gram[rows]
        return own

    def of_draws(self, groups: Sequence[int]) -> GramLosses:
        """The losses by the draws of some groups alone."""
        return GramLosses(self.grams[:, groups], self.counts[groups], self.codebook)


def placebo_sets(codebook: Codebook, removed: int, left: int, count: int) -> Tensor:
    """Return up to `count` sets of `left` members that are left without `removed` words of no unit, bool [P, M]."""
    found = placebos(codebook, removed, left, derived_seed(codebook.seed, "loss placebos"))
    return indicator(list(islice(found, count)), codebook.members)
