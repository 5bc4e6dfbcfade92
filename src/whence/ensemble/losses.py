"""Exact losses of every ablation: of an ensemble without each unit, on any pictures.

    ℓ(S) = mean over draws (t, ε) of ‖output_S(x_t, t) - target‖² / D,    D pixels and channels

What draws for a set of members S is the mean of their predictions (`whence.ensemble.gram`), or one network with the
mean of their changes of the weights (`whence.ensemble.weight_losses`). Only the mean over draws is an estimate; its
standard error is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.data.own_units import OwnUnits
from whence.diffusion.examples import Examples
from whence.ensemble.codebook import Codebook
from whence.ensemble.drawing import Combine
from whence.ensemble.gram import GROUPS, GramLosses, draw_groups, indicator
from whence.ensemble.influence import Influence
from whence.ensemble.set_losses import SetLosses, loss_increases
from whence.ensemble.weight_losses import WeightLosses, WeightSets
from whence.errors import ConfigError, DataError, NoSurvivorsError
from whence.scores.scores import Estimand, Scores
from whence.statistics.placebo_test import LEVEL, placebos_needed

#: Code words without a unit that losses are compared with: this many, or as many as it takes to name one of all units.
#: By predictions they cost only arithmetic; by weights there are as many as were measured.
PLACEBOS = 20_000
#: The method of the scores.
METHOD = "ensemble ablation"


@dataclass(frozen=True)
class Losses:
    """Losses of an ensemble and of its ablations, on some pictures.

    Attributes:
        path: Their directory.
        manifest: Pictures, draws and ensemble.
        codebook: Which member saw which unit.
    """

    path: Path
    manifest: Manifest
    codebook: Codebook

    @classmethod
    @artefacts.reader
    def open(cls, path: Path, codebook: Codebook) -> Losses:
        """Return losses; every file is checked by hash.

        Raises:
            ArtefactError: They are missing, unfinished or damaged.
        """
        return cls(path, artefacts.read_verified(path, "losses"), codebook)

    @cached_property
    def queries(self) -> tuple[str, ...]:
        """Ids of the pictures, Q."""
        return tuple(artefacts.read_table(self.path / "queries.parquet")["id"])

    @cached_property
    def examples(self) -> Examples:
        """The pictures as the members got them."""
        return read_measured(self.path)

    @property
    def draws(self) -> int:
        """Draws per picture."""
        return int(self.manifest.made["draws"])

    @property
    def combine(self) -> Combine:
        """How members are combined; losses whose manifest does not say are of the mean of predictions."""
        combine: Combine = self.manifest.made.get("combine", "predictions")
        return combine

    @property
    def groups(self) -> list[list[str]]:
        """What is left out: every unit by itself, or the units that were measured together."""
        together = self.manifest.made.get("together")
        return [list(together)] if together else [[unit] for unit in self.codebook.units]

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the groups; units that were measured together are `A+B`."""
        return tuple("+".join(group) for group in self.groups)

    @cached_property
    def sets(self) -> SetLosses:
        """The losses of sets of members."""
        counts = torch.bincount(draw_groups(self.draws)).double()
        if self.combine == "predictions":
            return GramLosses(artefacts.read_tensors(self.path / "grams.safetensors")["grams"], counts, self.codebook)
        found = artefacts.read_tensors(self.path / "losses.safetensors")
        sets = WeightSets(found["sets"], len(self.groups), len(self.groups[0]))
        return WeightLosses(found["losses"], counts, sets)

    def of(self, members: Tensor) -> Tensor:
        """Return the losses of sets of members, float64 [Q, k]; the members of each are bool [k, M].

        By the mean of predictions every set has a loss. By the mean of weights only the sets that were measured have.

        Raises:
            DataError: A set was not measured.
            NoSurvivorsError: A set is empty.
        """
        if not members.any(1).all():
            raise NoSurvivorsError("A mean is of at least one member; a set of members is empty.")
        return self.sets.of(members)

    def full(self) -> Tensor:
        """Loss of the full ensemble on each picture, [Q]."""
        return self.of(torch.ones(1, self.codebook.members, dtype=torch.bool))[:, 0]

    def without(self, units: Sequence[str]) -> Tensor:
        """Return the loss without some units, which are left out together, [Q].

        Raises:
            DataError: A unit is unknown, or these units were not measured together.
            NoSurvivorsError: Every member saw one of the units.
        """
        return self.of(indicator([self.codebook.survivors(units)], self.codebook.members))[:, 0]

    def expected(self, left: int) -> Tensor:
        """Return the mean loss over sets of `left` members, [Q]: the effect of fewer members alone.

        The sets are all there are, or by the mean of weights those of the placebos.

        Raises:
            ConfigError: There are not so many members.
            DataError: By the mean of weights, the placebos leave another number of members.
        """
        if not 1 <= left <= self.codebook.members:
            raise ConfigError(f"From 1 to {self.codebook.members} members can be left; given {left}.")
        return self.sets.expected(torch.tensor([left]))[:, 0]

    def influence(self, units: Sequence[str]) -> Tensor:
        """Return how much higher the loss is without some units than with as many members on average, [Q].

        Positive: the units pulled the ensemble towards the picture.
        """
        return self.without(units) - self.expected(len(self.codebook.survivors(units)))

    def scores(self) -> Scores:
        """Return the influence of every unit on every picture, with standard errors; [Q, U].

        Score [q, u] = ℓ(survivors of u) - mean of ℓ over sets of as many members; positive: proponent. The standard
        errors are of a jackknife over 8 groups of draws; with fewer draws there are none. They cover the error of the
        mean over draws alone, not the variation between other members, code words or placebos. Units that were measured
        together are one column, `A+B`.
        """
        survivors = self._survivors(self.groups)
        return Scores(
            scores=loss_increases(self.sets, survivors).float(),
            queries=self.queries,
            examples=self.units,
            units=OwnUnits(self.units),
            method=METHOD,
            estimand=Estimand(
                behaviour=self._behaviour,
                intervention="the unit is left out, against as many members without it in particular",
                process=self.process,
                model=str(self.manifest.inputs["ensemble"]),
                units="unit",
            ),
            sign="positive is proponent",
            combine="sum",
            standard_error=self._error(survivors),
            draws=self.draws,
        )

    @property
    def _behaviour(self) -> str:
        """What is explained: the loss of the picture, or of its region."""
        within = "" if self.examples.focus is None else " within the mask"
        return f"denoising loss of the query{within}, mean over draws"

    @property
    def process(self) -> str:
        """The training process of the estimand: an encoded ensemble, and how its members are combined."""
        return f"encoded ensemble: {self.sets.what_draws}"

    def placebos(self, removed: int, left: int, count: int = PLACEBOS) -> Tensor:
        """Return losses of up to `count` ablations of `removed` words of no unit that leave `left` members, [Q, P]."""
        return self.of(self._placebos(removed, left, count))

    def influence_on(self, query: str, units: Sequence[str] = (), level: float = LEVEL) -> Influence:
        """Return the influence of every unit, or of some units together, on one picture, tested against placebos.

        Raises:
            DataError: There is no such picture or unit, or these units were not measured together.
            NoSurvivorsError: Every member saw one of the units.
        """
        if query not in self.queries:
            raise DataError(f"There is no picture {query!r} here; there are {', '.join(self.queries[:5])} ...")
        groups = [self.codebook.in_order(units)] if units else self.groups
        survivors, own = self._survivors(groups), self.sets.at(self.queries.index(query))
        effects = loss_increases(own, survivors)[0]
        count = max(PLACEBOS, placebos_needed(len(groups), level))
        others = self._placebos(len(groups[0]), int(survivors[0].sum()), count)
        others = others[(others != survivors[0]).any(1)]  # Other words together may leave the very same members.
        placebo_effects = loss_increases(own, others)[0]
        return Influence(query, tuple("+".join(group) for group in groups), effects, placebo_effects, level)

    @cached_property
    def _placebos(self) -> Callable[[int, int, int], Tensor]:
        """Members that placebos leave, bool [P, M], by words ablated together, members left and number of placebos."""
        return cache(self.sets.placebos)

    def _survivors(self, groups: Sequence[Sequence[str]]) -> Tensor:
        """The members that never saw the units of each group, bool [k, M]."""
        return indicator([self.codebook.survivors(group) for group in groups], self.codebook.members)

    def _error(self, survivors: Tensor) -> Tensor | None:
        """Standard errors by a jackknife over the groups of draws, float32 [Q, k]; None if there are too few draws."""
        groups = len(self.sets.counts)
        if groups < GROUPS:
            return None
        replicates = []
        for left_out in range(groups):
            rest = [group for group in range(groups) if group != left_out]
            replicates.append(loss_increases(self.sets.of_draws(rest), survivors))
        return ((groups - 1) * torch.stack(replicates).var(0, unbiased=False)).sqrt().float()


def read_measured(folder: Path) -> Examples:
    """Return the pictures in the folder of losses, whole or unfinished, in their order."""
    names = artefacts.read_table(folder / "queries.parquet")["id"]
    if (folder / "queries").exists():
        return Examples.read(folder / "queries").ordered(names)
    return Examples(tuple(names), artefacts.read_tensors(folder / "queries.safetensors")["pictures"])
