"""The influence of units on a picture: their effects, tested against the effects of placebos, and sentences about them.

Units got their code words at random. So the effect of a unit that does not matter is one draw from the effects of words
that no unit has. With P of those placebos the p value of unit u is

    p_u = (1 + number of placebos with an effect at least as large) / (1 + P)

Holm's step-down correction over the F units of the family keeps the probability of naming any unit wrongly, in one
picture, at the level. The smallest corrected p value is F / (1 + P): with fewer placebos than F / level no unit can be
named, however large its effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from whence.errors import DataError, NotFiniteError
from whence.lazy import stats, torch
from whence.statistics.placebo_test import LEVEL, expected_maximum, holm, p_values, placebos_needed

if TYPE_CHECKING:
    from torch import Tensor


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
        """P value of the Mann-Whitney test that the units, as a whole, lie above the placebos; 1 without placebos.

        It says whether units matter at all, not which ones.
        """
        if not len(self.placebos):
            return 1.0
        return float(stats.mannwhitneyu(self.effects.numpy(), self.placebos.numpy(), alternative="greater").pvalue)

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


def conclusion(influence: Influence, noun: str = "distance") -> str:
    """Return which units mattered, or that nobody in particular did, or that there are too few placebos to tell.

    `noun` names an effect.

    Example:
        >>> print(conclusion(Influence("0/0", ("a", "b"), torch.tensor([0.2, 0.1]), torch.arange(100) / 100)))
        Nobody in particular: none of 2 units rises above 100 placebos at a family-wise error of 5%. One distance of
        more than 0.98 would have been named; the largest is 0.2.
    """
    error = f"a family-wise error of {percent(influence.level)}"
    family, placebos = _count_units(len(influence.units)), f"{len(influence.placebos):,} placebos"
    if influence.influential:
        names = ", ".join(influence.influential[:5])
        more = len(influence.influential) - 5
        return f"Above {placebos} at {error}, of {family}: {names}{f' and {more} more' if more > 0 else ''}."
    if influence.threshold is None:
        return (
            f"Nobody can be named: among {family} at {error} it takes {influence.placebos_needed:,} placebos, and "
            f"there are {len(influence.placebos):,}."
        )
    return (
        f"Nobody in particular: none of {family} rises above {placebos} at {error}. One {noun} of more than "
        f"{influence.threshold:.3g} would have been named; the largest is {influence.radius:.3g}."
    )


def summary(influence: Influence) -> str:
    """Return how many units lie above most placebos, and whether the units as a whole do."""
    count, by_chance = int((influence.p_values <= influence.level).sum()), influence.expected_by_chance
    verb, reflexive = ("lies", "itself") if count == 1 else ("lie", "themselves")
    whole = "lie above them" if influence.overall_p_value <= influence.level else "do not lie above them"
    return (
        f"{_count_units(count)} {verb} above {percent(1 - influence.level)} of the placebos by {reflexive}; "
        f"{by_chance:.3g} of {len(influence.units):,} do by chance. As a whole they {whole} "
        f"(p = {format_p_value(influence.overall_p_value)})."
    )


def percent(share: float) -> str:
    """Return a share as a percentage, with as many digits as it takes."""
    return f"{100 * share:.6g}%"


def format_p_value(p: float) -> str:
    """Return a p value in words."""
    if p < 0.001:
        return f"{p:.0e}"
    return (f"{p:.3f}" if p < 0.1 else f"{p:.2f}").lstrip("0") if p < 1 else "1.0"


def independence_note(members: int) -> str:
    """Return the sentence which says how many independent numbers an ensemble gives on a picture."""
    return (
        f"{members} members give at most {members * (members + 1) // 2} independent numbers on a picture: units with "
        "similar words share their influence."
    )


def _count_units(count: int) -> str:
    return f"{count:,} unit" + ("" if count == 1 else "s")
