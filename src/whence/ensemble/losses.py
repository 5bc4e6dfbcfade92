"""Exact losses of every ablation, from the Gram matrices of the members' residuals.

The mean prediction of the members S has the residual Σ_m w_m r_m with w = 1/|S| on S, so on a draw (t, ε) its loss is

    ℓ(S) = wᵀ R w,    R_mm' = ⟨r_m, r_m'⟩ / D,    r_m = network_m(x_t, t) - target,  D pixels and channels

M forward passes per draw give R, and R gives the loss of the full ensemble, of every unit's ablation and of any group,
on any picture, drawn or not. Nothing is estimated but the mean over draws, whose error is stated.

R has M(M + 1)/2 independent entries and no more: units with similar code words have similar ablations and share their
influence, whoever of them caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.ensemble.codebook import Codebook
from whence.ensemble.influence import Influence
from whence.ensemble.placebos import placebos
from whence.errors import ConfigError, DataError, NoSurvivorsError
from whence.scores.scores import Estimand, Scores
from whence.seeds import derived_seed
from whence.statistics.placebo_test import LEVEL, placebos_needed

#: Groups of draws from which standard errors are made.
GROUPS = 8
#: Code words without a unit that losses are compared with: this many, or as many as it takes to name one of all units.
#: They cost nothing but arithmetic.
PLACEBOS = 20_000
#: Numbers that are held at a time.
HELD = 2**24


@dataclass(frozen=True)
class Losses:
    """Mean squared errors of all possible means of members, on some pictures.

    Attributes:
        path: Their directory.
        manifest: Which pictures, draws and ensemble.
        codebook: Which member saw which unit.
    """

    path: Path
    manifest: Manifest
    codebook: Codebook

    @classmethod
    def open(cls, path: Path, codebook: Codebook) -> Losses:
        """Return losses, checking every file by hash.

        Raises:
            ArtefactError: They are missing, unfinished or damaged.
        """
        return cls(path, artefacts.read_verified(path, "losses"), codebook)

    @cached_property
    def queries(self) -> tuple[str, ...]:
        """Ids of the pictures, Q."""
        return tuple(artefacts.read_table(self.path / "queries.parquet")["id"])

    @property
    def draws(self) -> int:
        """Draws per picture."""
        return int(self.manifest.made["draws"])

    @cached_property
    def grams(self) -> Tensor:
        """Mean Gram matrices of the residuals in each group of draws, float64 [Q, G, M, M]."""
        return artefacts.read_tensors(self.path / "grams.safetensors")["grams"]

    @cached_property
    def gram(self) -> Tensor:
        """Mean Gram matrix over all draws, float64 [Q, M, M]."""
        return _mean(self.grams, self._counts)

    @cached_property
    def _counts(self) -> Tensor:
        """Draws in each group, float64 [G]."""
        return torch.bincount(draw_groups(self.draws)).double()

    def of(self, members: Tensor) -> Tensor:
        """Return the losses of means of members, float64 [Q, k]; `members` bool [k, M].

        Raises:
            NoSurvivorsError: A set is empty.
        """
        if not members.any(1).all():
            raise NoSurvivorsError("A mean is of at least one member; a set of members is empty.")
        return _quadratic(self.gram, _weights(members))

    def full(self) -> Tensor:
        """Loss of the full ensemble on each picture, [Q]."""
        return self.of(torch.ones(1, self.codebook.members, dtype=torch.bool))[:, 0]

    def without(self, units: Sequence[str]) -> Tensor:
        """Return the loss without some units, all of them gone together, [Q].

        Raises:
            DataError: A unit is unknown.
            NoSurvivorsError: Every member saw one of the units.
        """
        return self.of(_one_hot([self.codebook.survivors(units)], self.codebook.members))[:, 0]

    def expected(self, left: int) -> Tensor:
        """Return the mean loss over all ways to keep `left` members, [Q]: what fewer members cost by themselves.

        Raises:
            ConfigError: There are not so many members.
        """
        if not 1 <= left <= self.codebook.members:
            raise ConfigError(f"From 1 to {self.codebook.members} members can be left; given {left}.")
        return self._expected(self.gram, torch.tensor([left]))[:, 0]

    def influence(self, units: Sequence[str]) -> Tensor:
        """Return how much higher the loss is without some units than without as many members, [Q].

        Positive: the units pulled the ensemble towards the picture.
        """
        return self.without(units) - self.expected(len(self.codebook.survivors(units)))

    def scores(self) -> Scores:
        """Influence of every unit on every picture, with standard errors.

        Score [q, u] = ℓ(survivors of u) - mean of ℓ over all sets of as many members; positive: proponent. Standard
        errors are a jackknife over 8 groups of draws: they cover the error of the mean over draws alone, not what other
        members or code words would have given.

        Returns:
            Scores [Q, U]; without standard errors if there are fewer draws than groups.
        """
        survivors = torch.from_numpy(~self.codebook.bits.T)
        values = self._influences(self.gram, survivors)
        return Scores(
            scores=values.float(),
            queries=self.queries,
            examples=self.codebook.units,
            units=tuple((unit,) for unit in self.codebook.units),
            method="ensemble ablation",
            estimand=Estimand(
                behaviour="denoising loss of the query, mean over draws",
                intervention="the unit is left out, against as many members without it in particular",
                process="encoded ensemble: mean prediction of the members that never saw the unit",
                model=str(self.manifest.inputs["ensemble"]),
                units="unit",
            ),
            sign="positive is proponent",
            combine="sum",
            standard_error=self._error(survivors),
            draws=self.draws,
        )

    def placebos(self, removed: int, left: int, count: int = PLACEBOS) -> Tensor:
        """Return the losses of ablations of code words that no unit has, [Q, P].

        Args:
            removed: Words ablated together.
            left: Members left.
            count: How many at most; fewer where there are no more.
        """
        return self.of(self._placebos(removed, left, count))

    def reading(self, query: str, units: Sequence[str] = (), level: float = LEVEL) -> Influence:
        """Return the influence of every unit on one picture, or of some units together, against placebos.

        Args:
            query: Id of the picture.
            units: Units to leave out together; default every unit by itself.
            level: Family-wise error.

        Raises:
            DataError: There is no such picture or unit.
            NoSurvivorsError: Every member saw one of the units.
        """
        if query not in self.queries:
            raise DataError(f"There is no picture {query!r} here; there are {', '.join(self.queries[:5])} ...")
        q = self.queries.index(query)
        groups = [self.codebook.in_order(units)] if units else [[unit] for unit in self.codebook.units]
        survivors = _one_hot([self.codebook.survivors(group) for group in groups], self.codebook.members)
        count = max(PLACEBOS, placebos_needed(len(groups), level))
        beside = self._placebos(len(groups[0]), int(survivors[0].sum()), count)
        if units:
            beside = beside[(beside != survivors).any(1)]  # Other words together may leave the very same members.
        effects, others = (self._influences(self.gram[q : q + 1], members)[0] for members in (survivors, beside))
        return Influence(query, tuple("+".join(group) for group in groups), effects, others, level)

    @cached_property
    def _placebos(self) -> Callable[[int, int, int], Tensor]:
        """Members that are left of so many placebos, bool [P, M], by words ablated together, members left and count."""
        seed = derived_seed(self.codebook.seed, "loss placebos")

        @cache
        def find(removed: int, left: int, count: int) -> Tensor:
            return _one_hot(list(islice(placebos(self.codebook, removed, left, seed), count)), self.codebook.members)

        return find

    def _error(self, survivors: Tensor) -> Tensor | None:
        """Jackknife over the groups of draws, float32 [Q, U]."""
        groups = self.grams.shape[1]
        if groups < GROUPS:
            return None
        left = []
        for g in range(groups):
            kept = [k for k in range(groups) if k != g]
            left.append(self._influences(_mean(self.grams[:, kept], self._counts[kept]), survivors))
        stacked = torch.stack(left)
        return ((groups - 1) * stacked.var(0, unbiased=False)).sqrt().float()

    def _influences(self, gram: Tensor, survivors: Tensor) -> Tensor:
        """Losses of means minus their expectation for as many members, [Q, k]; `survivors` bool [k, M]."""
        return _quadratic(gram, _weights(survivors)) - self._expected(gram, survivors.sum(1))

    def _expected(self, gram: Tensor, left: Tensor) -> Tensor:
        """Mean of wᵀRw over sets of left[k] members, [Q, k]: (mean diagonal + (left - 1) mean off-diagonal) / left."""
        members = gram.shape[-1]
        diagonal = gram.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        others = (gram.sum((-2, -1))[:, None] - diagonal) / max(1, members * (members - 1))
        return (diagonal / members + (left - 1) * others) / left


def draw_groups(draws: int) -> Tensor:
    """Return the group of each draw, int64 [T]: consecutive draws, so that timesteps are well spread in every group.

    Example:
        >>> draw_groups(16).tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    """
    return torch.arange(draws) * min(GROUPS, draws) // draws


def _weights(members: Tensor) -> Tensor:
    return members.double() / members.sum(1, keepdim=True)


def _quadratic(gram: Tensor, weights: Tensor) -> Tensor:
    """wᵀRw of each row of weights [k, M] and each matrix [Q, M, M]: [Q, k]."""
    rows = max(1, HELD // max(1, gram.shape[0] * gram.shape[-1]))
    return torch.cat([((some @ gram) * some).sum(-1) for some in torch.split(weights, rows)], dim=1)


def _one_hot(sets: Sequence[Sequence[int]], members: int) -> Tensor:
    """Sets of members as bool [k, M]."""
    found = torch.zeros(len(sets), members, dtype=torch.bool)
    for k, one in enumerate(sets):
        found[k, list(one)] = True
    return found


def _mean(grams: Tensor, counts: Tensor) -> Tensor:
    """Mean over groups [Q, G, M, M] with so many draws each."""
    return torch.einsum("qgmn,g->qmn", grams, counts / counts.sum())
