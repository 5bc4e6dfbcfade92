"""The influence of units on a picture: their effects, tested against the effects of placebos.

Units got their code words at random. So the effect of a unit that does not matter is one draw from the effects of words
that no unit has. With P of those placebos the p value of unit u is

    p_u = (1 + number of placebos with an effect at least as large) / (1 + P)

Holm's step-down correction over the family of units keeps the probability of naming any unit wrongly, in one picture,
at the level. For a family of F units the smallest corrected p value is F / (1 + P). With fewer placebos than F / level
no unit can be named, however large its effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from whence.errors import DataError, NotFiniteError
from whence.statistics.placebo_test import LEVEL, expected_maximum, holm, p_values, placebos_needed


@dataclass(frozen=True)
class Influence:
    """Effects of a family of units on one picture, and of placebos.

    Attributes:
        query: The picture.
        units: Unit ids, F of them.
        effects: Distances or differences of losses, float64 [F]; larger is more.
        placebos: Effects of code words that no unit has, float64 [P].
        level: Family-wise error.

    Example:
        >>> influence = Influence("0/0", ("a", "b"), torch.tensor([9.0, 1.0]), torch.arange(99) / 20)
        >>> influence.p_values.tolist(), influence.influential
        ([0.01, 0.8], ['a'])
    """

    query: str
    units: tuple[str, ...]
    effects: Tensor
    placebos: Tensor
    level: float = LEVEL

    def __post_init__(self) -> None:
        """Check the effects.

        Raises:
            NotFiniteError: An effect is not a finite number.
        """
        if not (torch.isfinite(self.effects).all() and torch.isfinite(self.placebos).all()):
            raise NotFiniteError(f"An effect of a unit or placebo on picture {self.query} is not finite.")

    @cached_property
    def p_values(self) -> Tensor:
        """One-sided p values: the chance of an effect as large for a unit that doesn't matter, float64 [F]."""
        return p_values(self.effects, self.placebos)

    @cached_property
    def adjusted_p_values(self) -> Tensor:
        """P values corrected for the size of the family (Holm 1979), float64 [F]."""
        return holm(self.p_values)

    @cached_property
    def order(self) -> list[int]:
        """Positions of the units, from the largest effect."""
        return [int(u) for u in torch.argsort(self.effects, descending=True, stable=True)]

    @property
    def influential(self) -> list[str]:
        """The units above placebos at the level, from the largest effect. Empty means nobody in particular."""
        return [self.units[u] for u in self.order if self.adjusted_p_values[u] <= self.level * (1 + 1e-9)]

    @property
    def placebos_needed(self) -> int:
        """Number of placebos that it takes to name a unit of this family."""
        return placebos_needed(len(self.units), self.level)

    @property
    def threshold(self) -> float | None:
        """The smallest effect with which a single unit would be named; None if there are too few placebos."""
        above = int(np.floor(self.level * (1 + len(self.placebos)) / len(self.units) + 1e-9)) - 1
        if above < 0:
            return None
        return float(torch.sort(self.placebos, descending=True).values[above])

    @property
    def expected_by_chance(self) -> float:
        """Expected number of units with an uncorrected p value of at most the level, if no unit matters."""
        ranks = 1 + len(self.placebos)
        return len(self.units) * math.floor(self.level * ranks + 1e-9) / ranks

    @cached_property
    def overall_p_value(self) -> float:
        """P value of the Mann-Whitney test that the effects of units, as a whole, lie above those of placebos.

        It says whether units matter at all, not which ones. 1 without placebos.
        """
        if not len(self.placebos):
            return 1.0
        return float(mannwhitneyu(self.effects.numpy(), self.placebos.numpy(), alternative="greater").pvalue)

    @property
    def radius(self) -> float:
        """The largest effect. If effects are distances, this is the counterfactual radius."""
        return float(self.effects.max())

    @property
    def matched_count(self) -> int:
        """Size of the samples of which `matched_radius` and `placebo_radius` are the expected largest effects."""
        return min(len(self.effects), len(self.placebos))

    @property
    def matched_radius(self) -> float:
        """Expected largest effect of `matched_count` units."""
        return expected_maximum(self.effects, self.matched_count)

    @property
    def placebo_radius(self) -> float:
        """Expected largest effect of `matched_count` placebos."""
        return expected_maximum(self.placebos, self.matched_count)

    def restrict(self, units: Sequence[str]) -> Influence:
        """Return the influence of a smaller family of units, which must be chosen without looking at the ensemble.

        Raises:
            DataError: A unit is not among these.
        """
        rows = {unit: u for u, unit in enumerate(self.units)}
        unknown = [unit for unit in units if unit not in rows]
        if unknown or not units:
            raise DataError(f"There is no unit {unknown[0]!r} here." if unknown else "No unit is given.")
        chosen = [rows[unit] for unit in dict.fromkeys(units)]
        return replace(self, units=tuple(self.units[u] for u in chosen), effects=self.effects[chosen])
