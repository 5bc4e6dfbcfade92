"""Losses of one network: the base with the mean of ΔW of a set of members.

The network of a set of adapters S is W + 1/|S| Σ_m s B_m A_m in every layer, which is what the exported adapter of S
gives. It is not linear in the set, so the loss of one set does not follow from the losses of others. Each set is
measured by itself, with one evaluation of the base for each draw. The sets are

    all members;  the survivors of every unit, or of some units together;  the survivors of P placebos.

The mean over the placebos stands for the loss of as many members without any unit in particular.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from whence.ensemble.codebook import Codebook
from whence.ensemble.gram import indicator, placebo_sets
from whence.errors import ConfigError, DataError
from whence.statistics.placebo_test import default_placebos


@dataclass(frozen=True, eq=False)
class WeightSets:
    """The sets of members that are measured.

    Attributes:
        members: The members of each set, bool [K, M]: all, then the survivors of units, then those of placebos.
        ablations: How many of the sets are survivors of units.
        removed: How many words are left out together.
    """

    members: Tensor
    ablations: int
    removed: int

    @classmethod
    def of(cls, codebook: Codebook, together: Sequence[str] = ()) -> WeightSets:
        """Return the sets for every unit by itself, or for the units `together`.

        There are as many placebos as it takes to name one of the units at a family-wise error of 5%, from 200 on; but
        200 where that is more than 1,000, and fewer where the codebook has no more words.

        Raises:
            ConfigError: The codebook has no word for a placebo.
            DataError: A unit is unknown.
            NoSurvivorsError: Every member saw one of the units.
        """
        groups = [list(together)] if together else [[unit] for unit in codebook.units]
        survivors = indicator([codebook.survivors(group) for group in groups], codebook.members)
        removed, count = len(groups[0]), default_placebos(len(groups))
        found = placebo_sets(codebook, removed, int(survivors[0].sum()), count + 1)
        # Other words together may leave the very same members as the units do.
        placebos = found[(found != survivors[0]).any(1)][:count]
        if not len(placebos):
            raise ConfigError(
                f"Losses by the mean of weights are compared with code words that no unit has, and the codebook of "
                f"{codebook.members} members has none that leave as many members; train an ensemble with more "
                "--members, or use --combine predictions."
            )
        everybody = torch.ones(1, codebook.members, dtype=torch.bool)
        return cls(torch.cat([everybody, survivors, placebos]), len(groups), removed)

    @property
    def placebos(self) -> Tensor:
        """The members that placebos leave, bool [P, M]."""
        return self.members[1 + self.ablations :]

    @cached_property
    def rows(self) -> dict[tuple[bool, ...], int]:
        """The row of every set."""
        return {tuple(own): row for row, own in enumerate(self.members.tolist())}


@dataclass(frozen=True, eq=False)
class WeightLosses:
    """Losses of the networks with the mean of ΔW of sets of members; see `SetLosses`.

    Attributes:
        losses: Mean losses of each set in each group of draws, float64 [Q, G, K].
        counts: Draws in each group, float64 [G].
        sets: The sets, K of them.
    """

    losses: Tensor
    counts: Tensor
    sets: WeightSets

    @property
    def what_draws(self) -> str:
        """What draws without a unit, for estimands."""
        return "one network with the mean of ΔW of the members that never saw the unit"

    def of(self, sets: Tensor) -> Tensor:
        """Return the losses of sets that were measured, float64 [Q, k].

        Raises:
            DataError: A set was not measured.
        """
        rows = [self.sets.rows.get(tuple(own)) for own in sets.tolist()]
        found = [row for row in rows if row is not None]
        if len(found) < len(rows):
            raise DataError(
                "By the mean of weights only the losses that were asked for are known, and "
                f"{len(rows) - len(found)} of {len(rows)} sets of members are not among them; measure units together "
                "with `whence ensemble losses --combine weights --unit A --unit B`."
            )
        return self._mean[:, found]

    def expected(self, left: Tensor) -> Tensor:
        """Return the mean of the losses of the placebos, float64 [Q, k]; left[k] is how many members they leave.

        Raises:
            DataError: The placebos leave another number of members.
        """
        measured = int(self.sets.placebos[0].sum())
        if others := sorted(set(left.tolist()) - {measured}):
            raise DataError(
                f"By the mean of weights the expected loss is known for {measured} members that are left, as the "
                f"placebos leave; given {others[0]}."
            )
        return self._mean[:, 1 + self.sets.ablations :].mean(1, keepdim=True).expand(-1, len(left))

    def placebos(self, removed: int, left: int, count: int) -> Tensor:
        """Return the members that the measured placebos leave, bool [P, M]; P is at most `count`.

        Raises:
            DataError: They are of another number of words, or leave another number of members.
        """
        placebos = self.sets.placebos
        if (removed, left) != (self.sets.removed, int(placebos[0].sum())):
            raise DataError(
                f"The placebos that were measured are {self.sets.removed} words that leave {int(placebos[0].sum())} "
                f"members; {removed} words that leave {left} members were expected."
            )
        return placebos[:count]

    def at(self, picture: int) -> WeightLosses:
        """The losses of one picture, Q = 1."""
        return replace(self, losses=self.losses[picture : picture + 1])

    def of_draws(self, groups: Sequence[int]) -> WeightLosses:
        """The losses by the draws of some groups alone."""
        return replace(self, losses=self.losses[:, groups], counts=self.counts[groups])

    @cached_property
    def _mean(self) -> Tensor:
        """Mean losses over all draws, float64 [Q, K]."""
        return torch.einsum("qgk,g->qk", self.losses, self.counts / self.counts.sum())
