"""Bootstrap: how far a number may be off because of which samples it was measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whence.errors import WhenceError

#: Resamples that are held at a time.
CHUNK = 500


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        level: Share of the resamples inside it.
        resamples: Resamples that were drawn.
        undefined: How many of them have no value and were left out.
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
) -> Interval:
    """Percentile interval of a statistic whose rows are drawn again with replacement (Efron 1979).

    A row is drawn as a whole, so what was measured on the same sample stays paired. The interval is from the
    (1 - level)/2 to the (1 + level)/2 quantile of the resamples in which the statistic is defined.

    Args:
        values: Measurements [n, k], a row for each sample.
        statistic: From resamples [b, n, k] to their values [b]; NaN where it is undefined.
        seed: Which resamples.
        resamples: How many.
        level: Share of the resamples inside the interval.

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
    found = []
    for start in range(0, resamples, CHUNK):
        rows = source.integers(0, len(values), (min(CHUNK, resamples - start), len(values)))
        found.append(statistic(values[rows]))
    all_found = np.concatenate(found)
    defined = all_found[~np.isnan(all_found)]
    if len(defined) == 0:
        raise WhenceError(f"The statistic is undefined in all {resamples:,} resamples; measure more samples.")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, resamples, resamples - len(defined))
