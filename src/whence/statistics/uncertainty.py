"""How far a mean correlation over subsets may be off because of which subsets were drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whence.statistics.bootstrap import Interval
from whence.statistics.ranks import resampled_spearman, spearman_columns
from whence.statistics.statistic import Statistic as Statistic

#: Resamples for an interval.
RESAMPLES = 1000
#: Resamples of which the mean and the standard deviation are published.
PUBLISHED = 64


@dataclass(frozen=True, eq=False)
class Correlations:
    """Rank correlations over subsets, of every query, and the same over resamples of the subsets.

    Attributes:
        of_query: The correlations, float64 [Q]; NaN where one side is constant.
        resampled: Those of the resamples, float64 [Q, B].
    """

    of_query: np.ndarray
    resampled: np.ndarray

    @classmethod
    def measure(cls, a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> Correlations:
        """Return the correlations of the columns of a and b, both [S, Q], over all subsets and over resamples [B, S].

        Example:
            >>> a = np.arange(12.0).reshape(6, 2)
            >>> Correlations.measure(a, -a, resamples_of(6, seed=0)).mean.value
            -1.0
        """
        return cls(spearman_columns(a, b), resampled_spearman(a, b, counts))

    @property
    def defined(self) -> np.ndarray:
        """Which queries have a correlation, bool [Q]."""
        found: np.ndarray = ~np.isnan(self.of_query)
        return found

    def only(self, queries: np.ndarray) -> Correlations:
        """Those of some queries, bool [Q]."""
        return Correlations(self.of_query[queries], self.resampled[queries])

    @cached_property
    def resampled_mean(self) -> np.ndarray:
        """Mean over the queries that have a correlation, of every resample, [B]; NaN where one has none in it."""
        chosen = self.resampled[self.defined]
        return chosen.mean(0) if len(chosen) else np.full(self.resampled.shape[1], np.nan)

    @property
    def mean(self) -> Statistic:
        """Mean over the queries that have a correlation, with its 95% interval over subsets."""
        chosen = self.of_query[self.defined]
        value = float(chosen.mean()) if len(chosen) else np.nan
        return shifted(value, self.resampled_mean, bounds=(-1.0, 1.0))

    @property
    def published(self) -> tuple[float, float]:
        """Bootstrap mean: mean and standard deviation (of the 64 numbers, not corrected) of 64 resamples.

        This is what D-TRAK's tables and those after it report as "mean ± std" (arXiv 2311.00500). Drawing subsets twice
        makes ties, so its mean is lower than the plain mean: by 0.002 to 0.005 there, by more for few subsets.
        """
        drawn = self.resampled_mean[:PUBLISHED]
        return float(drawn.mean()), float(drawn.std())


def resamples_of(subsets: int, *, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return how often each of S subsets is in each resample of S drawn with replacement, int64 [B, S].

    Numbers that are compared use the same resamples, so that what they share is no part of their difference.

    Example:
        >>> resamples_of(5, seed=0, resamples=3).sum(1).tolist()
        [5, 5, 5]
    """
    return np.random.default_rng(seed).multinomial(subsets, np.full(subsets, 1 / subsets), resamples)


def shifted(
    value: float, resampled: np.ndarray, *, bounds: tuple[float, float] = (-np.inf, np.inf), level: float = 0.95
) -> Statistic:
    """Return a number with the percentile interval of its resamples, shifted by the number minus their mean.

    Resamples have ties that the subsets don't have, which lowers a rank correlation: the percentile interval alone lies
    too low by about as much as the number is above the mean of the resamples. The shifted one covers what as many other
    subsets would give on average. Statistic on normal numbers: with 64 subsets and a true correlation of .4 to .9 it
    does so 94% to 96% of the time (unshifted: 93%; reflected about the number: 88% to 94%), with 24 subsets 93% to 94%.

    Args:
        value: The number.
        resampled: Its values in the resamples [B]; those that are NaN are left out and counted.
        bounds: What it can't be below or above; the interval ends there.
        level: Share of the resamples inside the interval.

    Returns:
        The number with its interval, from NaN to NaN where nothing is left; chance is 0.

    Example:
        >>> found = shifted(0.5, np.linspace(0.2, 0.6, 101))
        >>> round(found.interval.low, 3), round(found.interval.high, 3)
        (0.31, 0.69)
    """
    defined = resampled[~np.isnan(resampled)]
    undefined = len(resampled) - len(defined)
    if not len(defined) or np.isnan(value):
        return Statistic(value, Interval(np.nan, np.nan, level, len(resampled), undefined), 0.0)
    ends = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) + (value - defined.mean())
    low, high = np.clip(ends, *bounds)
    return Statistic(value, Interval(float(low), float(high), level, len(resampled), undefined), 0.0)
