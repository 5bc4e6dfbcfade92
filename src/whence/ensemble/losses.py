"""Exact losses of every ablation, from the Gram matrices of the members' residuals.

The mean prediction of the members S has the residual Σ_m w_m r_m with w = 1/|S| on S, so on a draw (t, ε) its loss is

    ℓ(S) = wᵀ R w,    R_mm' = ⟨r_m, r_m'⟩ / D,    r_m = network_m(x_t, t) - target,  D pixels and channels

M forward passes per draw give R. R gives the loss of the full ensemble, of the ablation of every unit and of the
ablation of any group of units, on any picture, drawn by the ensemble or not. Only the mean over draws is an estimate;
its standard error is given.

R has at most M(M + 1)/2 independent entries. So units with similar code words have similar ablations and share their
influence, whichever of them caused it.
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
from whence.diffusion.examples import Examples
from whence.ensemble.codebook import Codebook, placebos
from whence.ensemble.gram import (
    GROUPS,
    draw_groups,
    expected_losses,
    indicator,
    loss_increases,
    mean_gram,
    mean_losses,
)
from whence.ensemble.influence import Influence
from whence.errors import ConfigError, DataError, NoSurvivorsError
from whence.scores.scores import Estimand, Scores
from whence.seeds import derived_seed
from whence.statistics.placebo_test import LEVEL, placebos_needed

#: Code words without a unit that losses are compared with: this many, or as many as it takes to name one of all units.
#: They cost only arithmetic.
PLACEBOS = 20_000


@dataclass(frozen=True)
class Losses:
    """Losses of all means of members, on some pictures.

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

    @cached_property
    def grams(self) -> Tensor:
        """Mean Gram matrices of the residuals in each group of draws, float64 [Q, G, M, M]."""
        return artefacts.read_tensors(self.path / "grams.safetensors")["grams"]

    @cached_property
    def gram(self) -> Tensor:
        """Mean Gram matrix over all draws, float64 [Q, M, M]."""
        return mean_gram(self.grams, self._counts)

    @cached_property
    def _counts(self) -> Tensor:
        """Draws in each group, float64 [G]."""
        return torch.bincount(draw_groups(self.draws)).double()

    def of(self, members: Tensor) -> Tensor:
        """Return the losses of means of members, float64 [Q, k]; the members of each mean are bool [k, M].

        Raises:
            NoSurvivorsError: A set is empty.
        """
        if not members.any(1).all():
            raise NoSurvivorsError("A mean is of at least one member; a set of members is empty.")
        return mean_losses(self.gram, members)

    def full(self) -> Tensor:
        """Loss of the full ensemble on each picture, [Q]."""
        return self.of(torch.ones(1, self.codebook.members, dtype=torch.bool))[:, 0]

    def without(self, units: Sequence[str]) -> Tensor:
        """Return the loss without some units, which are left out together, [Q].

        Raises:
            DataError: A unit is unknown.
            NoSurvivorsError: Every member saw one of the units.
        """
        return self.of(indicator([self.codebook.survivors(units)], self.codebook.members))[:, 0]

    def expected(self, left: int) -> Tensor:
        """Return the mean loss over all sets of `left` members, [Q]: the effect of fewer members alone.

        Raises:
            ConfigError: There are not so many members.
        """
        if not 1 <= left <= self.codebook.members:
            raise ConfigError(f"From 1 to {self.codebook.members} members can be left; given {left}.")
        return expected_losses(self.gram, torch.tensor([left]))[:, 0]

    def influence(self, units: Sequence[str]) -> Tensor:
        """Return how much higher the loss is without some units than with as many members on average, [Q].

        Positive: the units pulled the ensemble towards the picture.
        """
        return self.without(units) - self.expected(len(self.codebook.survivors(units)))

    def scores(self) -> Scores:
        """Return the influence of every unit on every picture, with standard errors; [Q, U].

        Score [q, u] = ℓ(survivors of u) - mean of ℓ over all sets of as many members; positive: proponent. The standard
        errors are of a jackknife over 8 groups of draws; with fewer draws there are none. They cover the error of the
        mean over draws alone, not the variation between other members or code words.
        """
        survivors = torch.from_numpy(~self.codebook.bits.T)
        increases = loss_increases(self.gram, survivors)
        return Scores(
            scores=increases.float(),
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
        """Return losses of up to `count` ablations of `removed` words of no unit that leave `left` members, [Q, P]."""
        return self.of(self._placebos(removed, left, count))

    def influence_on(self, query: str, units: Sequence[str] = (), level: float = LEVEL) -> Influence:
        """Return the influence of every unit, or of some units together, on one picture, tested against placebos.

        Raises:
            DataError: There is no such picture or unit.
            NoSurvivorsError: Every member saw one of the units.
        """
        if query not in self.queries:
            raise DataError(f"There is no picture {query!r} here; there are {', '.join(self.queries[:5])} ...")
        q = self.queries.index(query)
        groups = [self.codebook.in_order(units)] if units else [[unit] for unit in self.codebook.units]
        survivors = indicator([self.codebook.survivors(group) for group in groups], self.codebook.members)
        count = max(PLACEBOS, placebos_needed(len(groups), level))
        others = self._placebos(len(groups[0]), int(survivors[0].sum()), count)
        if units:
            others = others[(others != survivors).any(1)]  # Other words together may leave the very same members.
        effects, placebo_effects = (loss_increases(self.gram[q : q + 1], sets)[0] for sets in (survivors, others))
        return Influence(query, tuple("+".join(group) for group in groups), effects, placebo_effects, level)

    @cached_property
    def _placebos(self) -> Callable[[int, int, int], Tensor]:
        """Members that placebos leave, bool [P, M], by words ablated together, members left and number of placebos."""
        seed = derived_seed(self.codebook.seed, "loss placebos")

        @cache
        def find(removed: int, left: int, count: int) -> Tensor:
            return indicator(list(islice(placebos(self.codebook, removed, left, seed), count)), self.codebook.members)

        return find

    def _error(self, survivors: Tensor) -> Tensor | None:
        """Standard errors by a jackknife over the groups of draws, float32 [Q, U]; None if there are too few draws."""
        groups = self.grams.shape[1]
        if groups < GROUPS:
            return None
        replicates = []
        for left_out in range(groups):
            rest = [group for group in range(groups) if group != left_out]
            gram = mean_gram(self.grams[:, rest], self._counts[rest])
            replicates.append(loss_increases(gram, survivors))
        return ((groups - 1) * torch.stack(replicates).var(0, unbiased=False)).sqrt().float()


def read_measured(folder: Path) -> Examples:
    """Return the pictures in the folder of losses, whole or unfinished, in their order."""
    names = artefacts.read_table(folder / "queries.parquet")["id"]
    if (folder / "queries").exists():
        return Examples.read(folder / "queries").ordered(names)
    return Examples(tuple(names), artefacts.read_tensors(folder / "queries.safetensors")["pictures"])
