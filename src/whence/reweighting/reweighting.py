"""A reweighting: weights of training examples, what they promise, and what models of other seeds show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.errors import DataError
from whence.statistics.statistic import Statistic, jackknife_interval

#: What the mean over all pictures may lose, as a share of it.
TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Weights of N training examples, and a behaviour v of G groups of pictures; larger is more of it.

    Attributes:
        examples: Ids of the training examples, N.
        weights: Their weights over those of the run, float64 [N]; 1 is no change.
        behaviour: Name of the behaviour.
        groups: Names of the groups, G.
        shares: Share of the pictures that are of each group, float64 [G].
        before: v of the development pictures under the run, float64 [G].
        promised: The same with the weights, to first order, float64 [G].
        plain: v of other pictures under models of K other seeds, trained without the weights, float64 [K, G].
        weighted: The same, trained with the weights.

    Example:
        >>> half = np.array([0.5, 0.5])
        >>> one = Reweighting(("a",), np.ones(1), "held-out-fit", ("x", "y"), half, -half, -half,
        ...                   -np.array([[1.0, 3.0], [1.0, 3.1]]), -np.array([[1.1, 2.5], [1.2, 2.7]]))
        >>> round(one.worst.value, 2), one.worst_group, one.is_fairer  # two seeds leave a wide interval
        (0.45, 'x', False)
    """

    examples: tuple[str, ...]
    weights: np.ndarray
    behaviour: str
    groups: tuple[str, ...]
    shares: np.ndarray
    before: np.ndarray
    promised: np.ndarray
    plain: np.ndarray
    weighted: np.ndarray

    @property
    def worst_group(self) -> str:
        """The group that was worst before, by the development pictures."""
        return self.groups[int(self.before.argmin())]

    @property
    def promised_worst(self) -> float:
        """Promised change of the worst group's v, whichever is the worst."""
        return float(self.promised.min() - self.before.min())

    @property
    def worst(self) -> Statistic:
        """Measured change of the worst group's v, whichever is the worst in a model; interval over seeds."""
        return _change(self.plain.min(1), self.weighted.min(1))

    @property
    def of_group(self) -> dict[str, Statistic]:
        """Measured change of the v of each group; intervals over seeds."""
        return {name: _change(self.plain[:, g], self.weighted[:, g]) for g, name in enumerate(self.groups)}

    @property
    def promised_mean(self) -> float:
        """Promised change of the mean over all pictures, as a share of its size before."""
        before = float(self.before @ self.shares)
        return float((self.promised @ self.shares - before) / abs(before))

    @property
    def mean(self) -> Statistic:
        """Measured change of the mean over all pictures, as a share of its size; interval over seeds."""
        plain, weighted = self.plain @ self.shares, self.weighted @ self.shares
        return _change(np.zeros(len(plain)), (weighted - plain) / np.abs(plain))

    @property
    def is_fairer(self) -> bool:
        """Whether the interval of the worst group's change is above 0, and the mean not worse by more than 1%."""
        return self.worst.interval.low > 0 and self.mean.value >= -TOLERANCE

    @property
    def verdict(self) -> str:
        """What the models show, in words."""
        if self.worst.interval.low > 0:
            worst = "In models of other seeds the worst group is better with these weights"
        elif self.worst.interval.high < 0:
            worst = "In models of other seeds the worst group is worse with these weights: don't use them"
        else:
            worst = "Whether the worst group is better with these weights in models of other seeds cannot be told"
        lost = -self.mean.value
        mean = (
            f"is worse by {lost:.1%}, more than {TOLERANCE:.0%}" if lost > TOLERANCE else "is not worse by more than 1%"
        )
        return f"{worst}; the mean of all pictures {mean}."

    def write_table(self, path: Path) -> Path:
        """Write the weights as a CSV file with the columns id and weight, and return its path."""
        artefacts.write_csv(path, {"id": list(self.examples), "weight": self.weights.tolist()})
        return path


def _change(plain: np.ndarray, weighted: np.ndarray) -> Statistic:
    """The mean difference of pairs of one seed, [K] each, with the interval of Student's t."""
    if len(plain) < 2:
        raise DataError("One other seed has no interval; train with 3 or more.")
    difference = weighted - plain
    without = (difference.sum() - difference) / (len(difference) - 1)
    value = float(difference.mean())
    return Statistic(value, jackknife_interval(value, without), 0.0)
