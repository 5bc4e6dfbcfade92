"""A measured number with its interval and what a random order gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t

from whence.errors import DataError
from whence.statistics.bootstrap import Interval, counted_bootstrap

#: Resamples for an interval.
RESAMPLES = 2000


@dataclass(frozen=True)
class Statistic:
    """A measured number.

    Attributes:
        value: The number.
        interval: Its 95% interval.
        chance: Its mean if the scores were a random order.
    """

    value: float
    interval: Interval
    chance: float

    def times(self, factor: float) -> Statistic:
        """Return the number times a positive factor, that is, in another unit.

        Example:
            >>> mean_of(np.array([0.25, 0.25]), chance=0.1).times(100).value
            25.0
        """
        ends = replace(self.interval, low=factor * self.interval.low, high=factor * self.interval.high)
        return Statistic(factor * self.value, ends, factor * self.chance)


def mean_of(values: np.ndarray, chance: float, seed: int = 0) -> Statistic:
    """Return the mean of one number per sample, [n], with the bootstrap interval over the samples.

    Raises:
        DataError: There is no sample.

    Example:
        >>> mean = mean_of(np.arange(11.0), chance=2.0)
        >>> mean.value, mean.interval.low < 5 < mean.interval.high
        (5.0, True)
    """
    if len(values) == 0:
        raise DataError("There is nothing to take a mean of: no query was measured.")
    return bootstrap_statistic(len(values), lambda drawn: drawn @ values / len(values), chance, seed)


def bootstrap_statistic(
    count: int,
    statistic: Callable[[np.ndarray], np.ndarray],
    chance: float,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> Statistic:
    """Return a statistic of n samples with its bootstrap interval.

    Args:
        count: Number of samples, n.
        statistic: From how often each sample was drawn, float64 [b, n], to values [b]. Where each is drawn once, it is
            the number itself.
        chance: Its mean if the scores were a random order.
        seed: Seed of the resamples.
        strata: Kind of every sample [n]; the samples of each kind are resampled separately. Default: all are of one
            kind.

    Example:
        >>> values = np.array([1.0, 3.0])
        >>> bootstrap_statistic(2, lambda drawn: drawn @ values / 2, chance=0.0).value
        2.0
    """
    value = float(statistic(np.ones((1, count)))[0])
    return Statistic(value, counted_bootstrap(count, statistic, seed=seed, resamples=RESAMPLES, strata=strata), chance)


def jackknife_interval(value: float, without: np.ndarray) -> Interval:
    """Return the 95% interval value ± t · √((n - 1)/n · Σ_i (without_i - mean)²), t of n - 1 degrees of freedom.

    It is for statistics that always grow, or always shrink, when a sample is drawn twice, such as a number of different
    examples or an R²: every bootstrap resample lies to one side of the value. The variance is too large rather than too
    small (Efron & Stein 1981, "The jackknife estimate of variance").

    Args:
        value: The statistic of all n samples.
        without: The statistic without each sample, [n].

    Raises:
        DataError: There are fewer than two samples, or the statistic is undefined without one of them.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0])  # for a mean this is the classical interval
        >>> interval = jackknife_interval(2.0, (6 - values) / 2)
        >>> round(float((interval.high - 2) / t.ppf(0.975, 2)), 6)  # the standard error, 1 / √3
        0.57735
    """
    count = len(without)
    if count < 2:
        raise DataError("One sample has no interval; measure at least 2 queries or subsets.")
    if np.isnan(without).any():
        raise DataError("Without one of the samples the number is undefined; measure more queries or subsets.")
    error = np.sqrt((count - 1) * np.var(without))
    reach = float(t.ppf(0.975, count - 1) * error)
    return Interval(value - reach, value + reach, 0.95, count, 0)
