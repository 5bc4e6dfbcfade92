"""A measured number with its interval, by bootstrap or jackknife, and what a random order gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from whence.errors import DataError, WhenceError
from whence.lazy import special, stats

#: Resamples for the interval of a statistic.
RESAMPLES = 2000
#: Number of resamples in memory at a time.
CHUNK = 500


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Share of the resamples inside the interval.
        resamples: Number of resamples.
        undefined: Number of resamples without a value, which were left out.
    """

    low: float
    high: float
    level: float
    resamples: int
    undefined: int


@dataclass(frozen=True)
class Statistic:
    """A measured number, its 95% interval, and its mean if the scores were a random order."""

    value: float
    interval: Interval
    chance: float

    def times(self, factor: float) -> Statistic:
        """Return the number times a positive factor, that is, in another unit."""
        ends = replace(self.interval, low=factor * self.interval.low, high=factor * self.interval.high)
        return Statistic(factor * self.value, ends, factor * self.chance)


def paired_bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
    strata: np.ndarray | None = None,
) -> Interval:
    """Return the percentile interval of a statistic whose rows [n, k] are drawn again with replacement (Efron 1979).

    A row is drawn as a whole, so measurements of the same sample stay paired. The statistic maps resamples [b, n, k] to
    values [b], NaN where it is undefined. The interval is from the (1 - level)/2 to the (1 + level)/2 quantile of the
    defined ones. With `strata`, the kind of every row [n], the rows of each kind are resampled separately.

    Raises:
        WhenceError: There is no row, or the statistic is undefined in every resample.

    Example:
        >>> mean = paired_bootstrap(np.arange(10.0)[:, None], lambda x: x.mean(axis=(1, 2)), seed=0)
        >>> mean.low < 4.5 < mean.high
        True
    """
    if len(values) == 0:
        raise WhenceError("There is nothing to resample: no sample was measured.")
    source = np.random.default_rng(seed)
    sizes = [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
    resampled = np.concatenate([statistic(values[_rows(source, size, len(values), strata)]) for size in sizes])
    defined = resampled[~np.isnan(resampled)]
    if len(defined) == 0:
        raise WhenceError(f"The statistic is undefined in all {resamples:,} resamples; measure more samples.")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, resamples, resamples - len(defined))


def _rows(source: np.random.Generator, resamples: int, count: int, strata: np.ndarray | None) -> np.ndarray:
    """Rows of every resample, [resamples, count]."""
    if strata is None:
        return source.integers(0, count, (resamples, count))
    rows = np.empty((resamples, count), dtype=np.int64)
    for kind in np.unique(strata):
        members = np.flatnonzero(strata == kind)
        rows[:, members] = members[source.integers(0, len(members), (resamples, len(members)))]
    return rows


def counted_bootstrap(
    count: int,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    resamples: int = 10_000,
    strata: np.ndarray | None = None,
) -> Interval:
    """Return the 95% interval of `paired_bootstrap` for a statistic of how often each sample is drawn.

    The statistic maps counts, float64 [b, n], to values [b]. If it consists of weighted sums, this is a matrix product
    for all resamples together, and the rows, which may be long, are never copied.
    """

    def counted(rows: np.ndarray) -> np.ndarray:
        places = rows[..., 0] + count * np.arange(len(rows))[:, None]
        drawn = np.bincount(places.ravel(), minlength=len(rows) * count).reshape(len(rows), count)
        return statistic(drawn.astype(np.float64))

    return paired_bootstrap(np.arange(count)[:, None], counted, seed=seed, resamples=resamples, strata=strata)


def bootstrap_statistic(
    count: int,
    statistic: Callable[[np.ndarray], np.ndarray],
    chance: float,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> Statistic:
    """Return a statistic of n samples with its interval by `counted_bootstrap`; its value is for one draw of each.

    Example:
        >>> values = np.array([1.0, 3.0])
        >>> bootstrap_statistic(2, lambda drawn: drawn @ values / 2, chance=0.0).value
        2.0
    """
    value = float(statistic(np.ones((1, count)))[0])
    return Statistic(value, counted_bootstrap(count, statistic, seed=seed, resamples=RESAMPLES, strata=strata), chance)


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


def share(true: np.ndarray, chance: float = 0.5) -> Statistic:
    """Return the share of samples for which something holds, with the exact (Clopper & Pearson 1934) 95% interval.

    Unlike a bootstrap interval it is not empty where all samples agree.

    Example:
        >>> none = share(np.zeros(20, bool))
        >>> none.value, none.interval.low, round(none.interval.high, 3)
        (0.0, 0.0, 0.168)
    """
    exact = stats.binomtest(int(true.sum()), len(true)).proportion_ci(0.95, "exact")
    return Statistic(float(true.mean()), Interval(float(exact.low), float(exact.high), 0.95, 0, 0), chance)


def jackknife_interval(value: float, without: np.ndarray) -> Interval:
    """Return the 95% interval value ± t · √((n - 1)/n · Σ_i (without_i - mean)²), t of n - 1 degrees of freedom.

    `without` is the statistic without each of n samples, [n]. It is for statistics that always grow, or always shrink,
    when a sample is drawn twice, such as a number of different examples or an R²: every bootstrap resample lies to one
    side of the value. The variance is rather too large (Efron & Stein 1981, "The jackknife estimate of variance").

    Raises:
        DataError: There are fewer than two samples, or the statistic is undefined without one of them.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0])  # for a mean this is the classical interval
        >>> interval = jackknife_interval(2.0, (6 - values) / 2)
        >>> round(float((interval.high - 2) / special.stdtrit(2, 0.975)), 6)  # the standard error, 1 / √3
        0.57735
    """
    count = len(without)
    if count < 2:
        raise DataError("One sample has no interval; measure at least 2 queries or subsets.")
    if np.isnan(without).any():
        raise DataError("Without one of the samples the number is undefined; measure more queries or subsets.")
    error = np.sqrt((count - 1) * np.var(without))
    reach = float(special.stdtrit(count - 1, 0.975) * error)
    return Interval(value - reach, value + reach, 0.95, count, 0)
