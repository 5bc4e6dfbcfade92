"""Choosing a codebook before paying for it: guarantee, capacity, cost and power.

A code word of weight w shows its unit to w of the M members. Whatever r units are removed, at most r·w members go, so

    w <= (M - s) / r   leaves at least s members, and   C(M, w) words are there for U units.

Power: on an image of unit u, let a member's loss be lower by d standard deviations if it saw the unit (d is the
*effect*; the standard deviation is that between members that are alike in this). The losses of ablations rank units by
how well their words match those M numbers, so whether the right one comes first can be simulated before any training.
Since chances are ranks among C(M, w) words, nobody can be named among U units at level α unless C(M, w) is at least
about U + U/α.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from whence.errors import ConfigError
from whence.statistics.placebo_test import LEVEL, placebos_needed

#: Images that are simulated, and code words that stand for all others at most.
TRIALS, WORDS = 400, 20_000
#: Members that are tried at most.
LARGEST = 200


@dataclass(frozen=True)
class Design:
    """A codebook that could be made.

    Attributes:
        units: Number U of units.
        members: Number M of members, each of which costs one training run.
        weight: How many members see each unit, w.
        remove: Units that may be removed together, r.

    Example:
        >>> design = Design(units=1500, members=16, weight=7, remove=2)
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
        """Members that are left whatever `remove` units are removed, M - r·w."""
        return self.members - self.remove * self.weight

    @property
    def survivors(self) -> int:
        """Members left when one unit is removed, M - w: the network evaluations of one step of its ablation."""
        return self.members - self.weight

    @property
    def placebos(self) -> int:
        """Code words that are left when every unit has one."""
        return self.capacity - self.units

    def can_name(self, level: float = LEVEL) -> bool:
        """Whether enough words are left for anybody of all units to be named at a family-wise error of `level`."""
        return self.placebos >= placebos_needed(self.units, level)


def designs(units: int, remove: int = 1, survivors: int = 1) -> Iterator[Design]:
    """Codebooks with a guarantee, from the one with the fewest members.

    Args:
        units: Number U of units.
        remove: Any so many units can be removed together, r.
        survivors: Members that must be left then, s.

    Yields:
        For each M the heaviest weight up to M/2 that keeps the guarantee, if it has words for all units.

    Raises:
        ConfigError: A number is not positive, or no codebook of at most 200 members does it.

    Example:
        >>> next(designs(1500, remove=2, survivors=2))
        Design(units=1500, members=14, weight=6, remove=2)
    """
    if min(units, remove, survivors) < 1:
        raise ConfigError(
            f"--units, --remove and --survivors must be at least 1; given {units}, {remove} and {survivors}."
        )
    found = False
    for members in range(2, LARGEST + 1):
        design = Design(units, members, min(members // 2, (members - survivors) // remove), remove)
        if design.weight > 0 and design.capacity >= units:
            found = True
            yield design
    if not found:
        raise ConfigError(
            f"No codebook of at most {LARGEST} members has words for {units:,} units and leaves {survivors} members "
            f"when any {remove} are removed. Ask for less, or for larger units."
        )


@dataclass(frozen=True)
class Power:
    """What exact losses would find on images that the ensemble was trained on.

    Attributes:
        first: Share of images whose own unit comes first of all.
        named: Share of images whose own unit is named at the level, corrected for all units.
    """

    first: float
    named: float


def predicted_power(design: Design, effect: float, level: float = LEVEL, seed: int = 0) -> Power:
    """Simulate how often exact losses trace an image back to its unit.

    Args:
        design: The codebook.
        effect: Standard deviations between members by which those that saw the unit have a lower loss, d.
        level: Family-wise error.
        seed: Seed of the simulation.

    Returns:
        Shares of 400 simulated images. Where the codebook has more than 20,000 words, so many stand for all of them.

    Raises:
        ConfigError: The codebook has fewer words than units.

    Example:
        >>> predicted_power(Design(100, 16, 8, 1), effect=9.0)
        Power(first=1.0, named=1.0)
    """
    if design.placebos < 0:
        raise ConfigError(f"{design.capacity:,} code words are too few for {design.units:,} units: more --members.")
    source = np.random.default_rng(seed)
    words = _words(design, source)
    own = words[source.integers(len(words), size=TRIALS)]
    better = source.standard_normal(own.shape) + effect * own
    above = (words @ better.T > (own * better).sum(1) + 1e-9).mean(0) * design.capacity
    others, taken = max(1, design.capacity - 1), design.units - 1
    chances = (1 + above * design.placebos / others) / (1 + design.placebos) * design.units
    return Power(float(_all_below(above, taken, others).mean()), float((chances <= level).mean()))


def _all_below(above: np.ndarray, taken: int, others: int) -> np.ndarray:
    """C(N - a, k) / C(N, k): the chance that of N others the k that are taken are none of the a above; nearly exact."""
    few, many = np.minimum(above, taken), np.maximum(above, taken)
    ratio = np.minimum(many / (others - (few - 1) / 2), 1 - 1e-9)
    found: np.ndarray = np.where(few + many > others, few == 0, np.exp(few * np.log1p(-ratio)))
    return found


def _words(design: Design, source: np.random.Generator) -> np.ndarray:
    """All code words, or as many random ones as may stand for them, as rows of 0 and 1; [k, M]."""
    if design.capacity <= WORDS:
        chosen = np.array(list(combinations(range(design.members), design.weight)))
    else:
        chosen = source.random((WORDS, design.members)).argsort(1)[:, : design.weight]
    rows = np.zeros((len(chosen), design.members))
    np.put_along_axis(rows, chosen, 1.0, axis=1)
    return rows
