"""The test of membership: how likely pictures that a model never saw fit it as well as some pictures do.

The statistic of a picture is larger the better the model fits it. Controls are pictures that the model never saw. They
are divided at random. With n statistics of the first half, the chance of a picture with the statistic s is

    p = (1 + number of controls with a statistic of at least s) / (1 + n)

An alarm is a chance of at most the level. If pictures without alarm are of the same kind as the controls, a picture
that the model never saw raises an alarm with a probability of at most the level (a rank test; also called conformal).
How often that happens is counted on the second half, which chose nothing.

Several pictures together are compared with the first half by the normal scores of all ranks (van der Waerden 1952,
"Order tests for the two-sample problem"): the mean of Φ⁻¹((rank - 1/2)/(n + K)) over the K pictures, against that of K
at random among all n + K. Pictures by one hand may all be easy or hard; then only groups of controls by one hand each
would show how often K of them raise an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whence.errors import ConfigError, NotFiniteError
from whence.lazy import special, stats
from whence.statistics.statistic import Statistic, share

#: The share of false alarms that is allowed.
LEVEL = 0.01
#: Groups drawn at random for the chance of several pictures together, and random numbers held at a time.
GROUPS, HELD = 9999, 2**22


@dataclass(frozen=True, eq=False)
class MembershipTest:
    """Chances of pictures, with the alarms on controls.

    Attributes:
        statistics: Of the pictures in question, float64 [K].
        first: Of the controls that they are compared with, float64 [n].
        second: Of the controls on which false alarms are counted.
        level: The share of false alarms that is allowed.

    Example:
        >>> test = MembershipTest.of(np.array([9.0, 0.0]), np.arange(-200.0, 0.0), level=0.01)
        >>> test.chances.round(4).tolist(), test.found.tolist(), test.can_tell
        ([0.0099, 0.0099], [True, True], True)
    """

    statistics: np.ndarray
    first: np.ndarray
    second: np.ndarray
    level: float = LEVEL

    def __post_init__(self) -> None:
        """Check the statistics.

        Raises:
            ConfigError: The level is not between 0 and 1, or there are no pictures or fewer than two controls.
            NotFiniteError: A statistic is not finite.
        """
        if not 0 < self.level < 1:
            raise ConfigError(f"The share of false alarms is between 0 and 1, such as {LEVEL}; given {self.level}.")
        if not len(self.statistics) or not len(self.first) or not len(self.second):
            raise ConfigError(
                f"{len(self.statistics)} pictures are compared with {len(self.first) + len(self.second)} controls; at "
                "least 1 picture and 2 controls are needed. Give a folder of pictures that the model never saw."
            )
        for values in (self.statistics, self.first, self.second):
            if not np.isfinite(values).all():
                raise NotFiniteError("A statistic of membership is not finite. Look at the loss of the model.")

    @classmethod
    def of(cls, statistics: np.ndarray, controls: np.ndarray, *, level: float = LEVEL, seed: int = 0) -> MembershipTest:
        """Return the test with the controls divided at random into two halves."""
        order = np.random.default_rng(seed).permutation(len(controls))
        half = (len(controls) + 1) // 2
        return cls(statistics, controls[order[:half]], controls[order[half:]], level)

    @property
    def needed(self) -> int:
        """Controls that it takes in all so that one picture can raise an alarm."""
        return 2 * (int(np.ceil(1 / self.level - 1e-9)) - 1)

    @cached_property
    def chances(self) -> np.ndarray:
        """The chance of each picture, float64 [K]."""
        return self._chances(self.statistics)

    @property
    def found(self) -> np.ndarray:
        """Which pictures raise an alarm, bool [K]; none where nothing can be told."""
        return (self.chances <= self.level) & self.can_tell

    @cached_property
    def together(self) -> float:
        """The chance of all pictures together."""
        return float(group_chances(self.statistics[None], self.first)[0])

    @cached_property
    def alarms(self) -> Statistic:
        """The share of false alarms among single controls of the second half, with its exact 95% interval."""
        return share(self._chances(self.second) <= self.level, self.level)

    @cached_property
    def group_alarms(self) -> Statistic | None:
        """The same for groups of K controls of the second half; None where it has not K of them."""
        size = len(self.statistics)
        groups = self.second[: len(self.second) // size * size].reshape(-1, size)
        if not len(groups):
            return None
        return share(group_chances(groups, self.first) <= self.level, self.level)

    @property
    def enough(self) -> bool:
        """Whether there are enough controls for an alarm."""
        return 1 / (1 + len(self.first)) <= self.level

    @property
    def can_tell(self) -> bool:
        """Whether there are enough controls for an alarm, and no more false alarms than the level allows."""
        return self.enough and self.alarms.interval.low <= self.level

    @property
    def can_tell_together(self) -> bool:
        """Whether false alarms of groups could be counted, and are no more than the level allows."""
        alarms = self.group_alarms
        return alarms is not None and alarms.interval.low <= self.level

    def _chances(self, statistics: np.ndarray) -> np.ndarray:
        above = len(self.first) - np.searchsorted(np.sort(self.first), statistics, side="left")
        chances: np.ndarray = (1 + above) / (1 + len(self.first))
        return chances


def group_chances(pictures: np.ndarray, controls: np.ndarray, groups: int = GROUPS, seed: int = 0) -> np.ndarray:
    """Return for each row of statistics the chance that as many pictures at random have as large normal scores.

    It is (1 + groups with a mean at least as large) / (1 + groups), over groups drawn at random among the pictures of
    the row and the controls; equal statistics share their ranks. The places of the groups are the same for all rows.

    Args:
        pictures: Statistics of G times K pictures, float64 [G, K].
        controls: Statistics of the controls, float64 [n].
        groups: Groups drawn at random.
        seed: Their seed.

    Returns:
        The chances, float64 [G].

    Example:
        >>> group_chances(np.full((1, 20), 1.0), np.zeros(100), groups=999).tolist()
        [0.001]
    """
    size, above, source = pictures.shape[1], np.zeros(len(pictures), np.int64), np.random.default_rng(seed)
    count = size + len(controls)
    step = max(1, HELD // count)
    for start in range(0, groups, step):
        keys = source.random((min(step, groups - start), count))
        chosen = np.argpartition(keys, size - 1, axis=1)[:, :size]
        for row, statistics in enumerate(pictures):
            ranks = stats.rankdata(np.concatenate([statistics, controls]))
            scores = special.ndtri((ranks - 0.5) / count)
            above[row] += (scores[chosen].sum(1) >= scores[:size].sum() - 1e-9).sum()
    chances: np.ndarray = (1 + above) / (1 + groups)
    return chances
