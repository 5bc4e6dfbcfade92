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
from itertools import count, islice

import numpy as np

from whence.ensemble.codebook import random_words
from whence.ensemble.influence import LEVEL, placebos_needed
from whence.errors import ConfigError

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
    def independent(self) -> int:
        """Independent numbers that the members' residuals give on a picture, M(M + 1)/2."""
        return self.members * (self.members + 1) // 2

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
        ConfigError: A number is not positive.

    Example:
        >>> next(designs(1500, remove=2, survivors=2))
        Design(units=1500, members=14, weight=6, remove=2)
    """
    if min(units, remove, survivors) < 1:
        raise ConfigError(
            f"--units, --remove and --survivors must be at least 1; given {units}, {remove} and {survivors}."
        )
    for members in count(2):
        design = Design(units, members, min(members // 2, (members - survivors) // remove), remove)
        if design.weight > 0 and design.capacity >= units:
            yield design
        if members >= LARGEST:
            return


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

    Example:
        >>> predicted_power(Design(100, 16, 8, 1), effect=9.0)
        Power(first=1.0, named=1.0)
    """
    others = _words(design, seed)
    source = np.random.default_rng(seed)
    share = (design.units - 1) / max(1, design.capacity - 1)
    smallest = 1 / (1 + max(0, design.placebos))
    own = others[:TRIALS]
    better = source.standard_normal(own.shape) + effect * own
    above = ((others @ better.T > (own * better).sum(1) + 1e-9).mean(0) * (design.capacity - 1)).astype(float)
    chances = (1 + above * (1 - share)) * smallest * design.units
    return Power(float(((1 - share) ** above).mean()), float((chances <= level).mean()))


def _words(design: Design, seed: int) -> np.ndarray:
    """Different code words in random order, as rows of 0 and 1; [k, M]."""
    wanted = min(WORDS, design.capacity)
    found = dict[tuple[int, ...], None]()
    tries = 64 * wanted
    for word in islice(random_words(design.members, design.weight, seed), tries):
        found[word] = None
        if len(found) == wanted:
            break
    rows = np.zeros((len(found), design.members))
    for k, word in enumerate(found):
        rows[k, list(word)] = 1
    return rows
