"""Bootstrap: the interval of a number, from samples that are drawn again with replacement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whence.errors import WhenceError

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


def paired_bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
    strata: np.ndarray | None = None,
) -> Interval:
    """Return the percentile interval of a statistic whose rows are drawn again with replacement (Efron 1979).

    A row is drawn as a whole, so measurements of the same sample stay paired. The interval is from the (1 - level)/2 to
    the (1 + level)/2 quantile of the resamples in which the statistic is defined.

    Args:
        values: Measurements [n, k], a row for each sample.
        statistic: From resamples [b, n, k] to their values [b]; NaN where it is undefined.
        seed: Seed of the resamples.
        resamples: Number of resamples.
        level: Share of the resamples inside the interval.
        strata: Kind of every row [n]; the rows of each kind are resampled separately. Default: all are of one kind.

    Returns:
        The interval.

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


def counted_bootstrap(
    count: int,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    resamples: int = 10_000,
    strata: np.ndarray | None = None,
) -> Interval:
    """Return the 95% interval of `paired_bootstrap` for a statistic of how often each sample is drawn.

    If the statistic consists of weighted sums, this is a matrix product for all resamples together, and the rows, which
    may be long, are never copied.

    Args:
        count: Number of samples, n.
        statistic: From how often each sample was drawn, float64 [b, n], to values [b]; NaN where it is undefined.
        seed: Seed of the resamples, which are those of `paired_bootstrap`.
        resamples: Number of resamples.
        strata: As in `paired_bootstrap`.

    Example:
        >>> values = np.arange(10.0)
        >>> mean = counted_bootstrap(10, lambda drawn: drawn @ values / 10, seed=0)
        >>> mean == paired_bootstrap(values[:, None], lambda x: x.mean(axis=(1, 2)), seed=0)
        True
    """

    def counted(rows: np.ndarray) -> np.ndarray:
        places = rows[..., 0] + count * np.arange(len(rows))[:, None]
        drawn = np.bincount(places.ravel(), minlength=len(rows) * count).reshape(len(rows), count)
        return statistic(drawn.astype(np.float64))

    return paired_bootstrap(np.arange(count)[:, None], counted, seed=seed, resamples=resamples, strata=strata)


def _rows(source: np.random.Generator, resamples: int, count: int, strata: np.ndarray | None) -> np.ndarray:
    """Rows of every resample, [resamples, count]."""
    if strata is None:
        return source.integers(0, count, (resamples, count))
    rows = np.empty((resamples, count), dtype=np.int64)
    for kind in np.unique(strata):
        members = np.flatnonzero(strata == kind)
        rows[:, members] = members[source.integers(0, len(members), (resamples, len(members)))]
    return rows
