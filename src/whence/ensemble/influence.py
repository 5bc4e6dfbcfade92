"""Who mattered: effects of units against those of placebos, with an error that is stated.

Code words were given to units at random, so the effect of a unit that does not matter is one draw from the effects of
words that no unit has. With P of those, its chance is

    p_u = (1 + number of placebos with an effect at least as large) / (1 + P)

and Holm's step-down correction over the family of units keeps the probability of naming anybody wrongly, in one
picture, at the level. The smallest corrected chance is F / (1 + P) for a family of F units: with fewer placebos than
F / level nobody can be named, however large the effect, and that is said.
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
from whence.statistics.holm import holm
from whence.statistics.placebo_test import LEVEL, expected_maximum, p_values, placebos_needed


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
        >>> reading = Influence("0/0", ("a", "b"), torch.tensor([9.0, 1.0]), torch.arange(99) / 20)
        >>> reading.p_values.tolist(), reading.influential
        ([0.01, 0.8], ['a'])
    """

    query: str
    units: tuple[str, ...]
    effects: Tensor
    placebos: Tensor
    level: float = LEVEL

    def __post_init__(self) -> None:
        """Check that effects can be compared.

        Raises:
            NotFiniteError: One is not a finite number.
        """
        if not (torch.isfinite(self.effects).all() and torch.isfinite(self.placebos).all()):
            raise NotFiniteError(f"An effect of a unit or placebo on picture {self.query} is not finite.")

    @cached_property
    def p_values(self) -> Tensor:
        """Chance of an effect as large for a unit that doesn't matter, float64 [F]; one-sided."""
        return p_values(self.effects, self.placebos)

    @cached_property
    def adjusted(self) -> Tensor:
        """Chances corrected for the size of the family (Holm 1979), float64 [F]."""
        return holm(self.p_values)

    @cached_property
    def order(self) -> list[int]:
        """Positions of the units, from the largest effect."""
        return [int(u) for u in torch.argsort(self.effects, descending=True, stable=True)]

    @property
    def influential(self) -> list[str]:
        """The units above placebos at the level, from the largest effect; empty: nobody in particular."""
        return [self.units[u] for u in self.order if self.adjusted[u] <= self.level * (1 + 1e-9)]

    @property
    def needed(self) -> int:
        """Placebos without which nobody of so large a family could be named."""
        return placebos_needed(len(self.units), self.level)

    @property
    def threshold(self) -> float | None:
        """The smallest effect that would have been named, of one unit alone; None where none would."""
        above = int(np.floor(self.level * (1 + len(self.placebos)) / len(self.units) + 1e-9)) - 1
        if above < 0:
            return None
        return float(torch.sort(self.placebos, descending=True).values[above])

    @property
    def expected_by_chance(self) -> float:
        """How many units have an uncorrected chance of at most the level if none matters."""
        chances = 1 + len(self.placebos)
        return len(self.units) * math.floor(self.level * chances + 1e-9) / chances

    @cached_property
    def overall(self) -> float:
        """Chance that effects of units lie above those of placebos as a whole as they do, if nobody matters.

        Mann-Whitney's test. It says whether units matter at all and not which. 1 without placebos.
        """
        if not len(self.placebos):
            return 1.0
        return float(mannwhitneyu(self.effects.numpy(), self.placebos.numpy(), alternative="greater").pvalue)

    @property
    def radius(self) -> float:
        """The largest effect: the counterfactual radius, if effects are distances."""
        return float(self.effects.max())

    @property
    def matched(self) -> int:
        """Of how many units or placebos `matched_radius` and `placebo_radius` are the largest."""
        return min(len(self.effects), len(self.placebos))

    @property
    def matched_radius(self) -> float:
        """Expected largest effect of as many units as there are placebos, if there are more units."""
        return expected_maximum(self.effects, self.matched)

    @property
    def placebo_radius(self) -> float:
        """Expected largest effect of as many placebos as there are units, if there are more placebos."""
        return expected_maximum(self.placebos, self.matched)

    def among(self, units: Sequence[str]) -> Influence:
        """Return the same for a smaller family, which must have been chosen without looking at the ensemble.

        Raises:
            DataError: A unit is not among these.
        """
        places = {unit: u for u, unit in enumerate(self.units)}
        unknown = [unit for unit in units if unit not in places]
        if unknown or not units:
            raise DataError(f"There is no unit {unknown[0]!r} here." if unknown else "No unit is given.")
        chosen = [places[unit] for unit in dict.fromkeys(units)]
        return replace(self, units=tuple(self.units[u] for u in chosen), effects=self.effects[chosen])
