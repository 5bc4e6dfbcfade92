"""The design of a codebook before anything is trained: guarantee, capacity, cost and power.

A code word of weight w shows its unit to w of the M members. If any r units are removed, at most r·w members go, so

    w <= (M - s) / r   leaves at least s members, and   there are C(M, w) words for U units.

Power: on an image of unit u, let the loss of a member be lower by d standard deviations (of members that all saw the
unit, or all did not) if it saw the unit. The losses of ablations rank the units by how well their words match the
members' losses, so how often the right unit comes first can be simulated. A p value is a rank among C(M, w) words, so
nobody can be named among U units at level α unless C(M, w) is at least about U + U/α.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from whence.errors import ConfigError
from whence.statistics.placebo_test import LEVEL, placebos_needed

#: Simulated images, and the largest number of code words in a simulation.
TRIALS, WORDS = 400, 20_000
#: Largest number of members.
LARGEST = 200


@dataclass(frozen=True)
class CodebookDesign:
    """Size and weight of a codebook: M members of one training run each, w of which see each of U units.

    The guarantee is for any `remove` units that are removed together.

    Example:
        >>> design = CodebookDesign(units=1500, members=16, weight=7, remove=2)
        >>> design.capacity, design.guaranteed, design.survivors
        (11440, 2, 9)
    """

    units: int
    members: int
    weight: int
    remove: int

    @property
    def capacity(self) -> int:
        """Code words, C(M, w)."""
        return math.comb(self.members, self.weight)

    @property
    def guaranteed(self) -> int:
        """Members that are left when any `remove` units are removed, M - r·w."""
        return self.members - self.remove * self.weight

    @property
    def survivors(self) -> int:
        """Members left when one unit is removed, M - w; a step of its ablation takes so many network evaluations."""
        return self.members - self.weight

    @property
    def placebos(self) -> int:
        """Code words that no unit has."""
        return self.capacity - self.units

    def can_name(self, level: float = LEVEL) -> bool:
        """Whether enough words are left as placebos to name one of all units at a family-wise error of `level`."""
        return self.placebos >= placebos_needed(self.units, level)


def designs(units: int, remove: int = 1, survivors: int = 1) -> Iterator[CodebookDesign]:
    """Yield the designs that leave `survivors` members when any `remove` units are removed, from the fewest members.

    For each M it has the largest weight up to M/2 that keeps the guarantee, if there are words for all units.

    Raises:
        ConfigError: A number is not positive, more units are removed than there are, or no codebook of at most 200
            members does it.

    Example:
        >>> next(designs(1500, remove=2, survivors=2))
        CodebookDesign(units=1500, members=14, weight=6, remove=2)
    """
    if min(units, remove, survivors) < 1:
        raise ConfigError(
            f"--units, --remove and --survivors must be at least 1; given {units}, {remove} and {survivors}."
        )
    if remove > units:
        raise ConfigError(f"--remove {remove} removes more units than there are: --units {units}. Remove fewer.")
    possible = False
    for members in range(2, LARGEST + 1):
        design = CodebookDesign(units, members, min(members // 2, (members - survivors) // remove), remove)
        if design.weight > 0 and design.capacity >= units:
            possible = True
            yield design
    if not possible:
        raise ConfigError(
            f"No codebook of at most {LARGEST} members has words for {units:,} units and leaves {survivors} members "
            f"when any {remove} are removed. Ask for less, or for larger units."
        )


@dataclass(frozen=True)
class Power:
    """Shares of images whose own unit comes first of all, and is named at the level among all units."""

    first: float
    named: float


def predicted_power(design: CodebookDesign, effect: float, level: float = LEVEL, seed: int = 0) -> Power:
    """Simulate how often exact losses trace one of 400 images back to its unit.

    `effect` is d: by how many standard deviations between members the loss is lower for members that saw the unit. Of
    more than 20,000 code words a random 20,000 are used.

    Returns:
        Shares of the images, at a family-wise error of `level`.

    Raises:
        ConfigError: The codebook has fewer words than units.

    Example:
        >>> predicted_power(CodebookDesign(100, 16, 8, 1), effect=9.0)
        Power(first=1.0, named=1.0)
    """
    if design.placebos < 0:
        raise ConfigError(f"{design.capacity:,} code words are too few for {design.units:,} units: more --members.")
    source = np.random.default_rng(seed)
    words = _words(design, source)
    word = words[source.integers(len(words), size=TRIALS)]
    better = source.standard_normal(word.shape) + effect * word
    above = (words @ better.T > (word * better).sum(1) + 1e-9).mean(0) * design.capacity
    others, taken = max(1, design.capacity - 1), design.units - 1
    chances = (1 + above * design.placebos / others) / (1 + design.placebos) * design.units
    return Power(float(_all_below(above, taken, others).mean()), float((chances <= level).mean()))


def _all_below(above: np.ndarray, taken: int, others: int) -> np.ndarray:
    """C(N - a, k) / C(N, k), nearly exact: the chance that k of N words are none of the a above."""
    few, many = np.minimum(above, taken), np.maximum(above, taken)
    ratio = np.minimum(many / (others - (few - 1) / 2), 1 - 1e-9)
    chance: np.ndarray = np.where(few + many > others, few == 0, np.exp(few * np.log1p(-ratio)))
    return chance


def _words(design: CodebookDesign, source: np.random.Generator) -> np.ndarray:
    """All code words, or `WORDS` random ones, as rows of 0 and 1; [k, M]."""
    if design.capacity <= WORDS:
        chosen = np.array(list(combinations(range(design.members), design.weight)))
    else:
        chosen = source.random((WORDS, design.members)).argsort(1)[:, : design.weight]
    rows = np.zeros((len(chosen), design.members))
    np.put_along_axis(rows, chosen, 1.0, axis=1)
    return rows
