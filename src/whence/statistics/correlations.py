"""Rank correlations over subsets: their mean, its interval over the subsets, and the difference of two means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whence.statistics.ranks import resampled_spearman, spearman_columns
from whence.statistics.statistic import Interval, Statistic

#: Resamples for an interval.
RESAMPLES = 1000
#: Resamples whose mean and standard deviation are published.
PUBLISHED = 64


@dataclass(frozen=True, eq=False)
class Correlations:
    """Rank correlations over subsets, of every query, float64 [Q], and of B resamples of the subsets, [Q, B].

    They are NaN where one side is constant.
    """

    of_query: np.ndarray
    resampled: np.ndarray

    @classmethod
    def measure(cls, a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> Correlations:
        """Return the correlations of the columns of a and b, [S, Q] each, over all subsets and resamples [B, S]."""
        return cls(spearman_columns(a, b), resampled_spearman(a, b, counts))

    @classmethod
    def combine(cls, function: Callable[..., Any], parts: Sequence[Correlations]) -> Correlations:
        """Return a function of several correlations and of their resamples, such as their mean."""
        return cls(function([part.of_query for part in parts]), function([part.resampled for part in parts]))

    @property
    def defined(self) -> np.ndarray:
        """Which queries have a correlation, bool [Q]."""
        defined: np.ndarray = ~np.isnan(self.of_query)
        return defined

    def only(self, queries: np.ndarray) -> Correlations:
        """Return the correlations of some queries, bool [Q]."""
        return Correlations(self.of_query[queries], self.resampled[queries])

    @cached_property
    def resampled_mean(self) -> np.ndarray:
        """Mean of every resample over the queries that have a correlation, [B]; NaN where one has none in it."""
        chosen = self.resampled[self.defined]
        return chosen.mean(0) if len(chosen) else np.full(self.resampled.shape[1], np.nan)

    @property
    def mean(self) -> Statistic:
        """Mean over the queries that have a correlation, with its 95% interval over subsets."""
        chosen = self.of_query[self.defined]
        value = float(chosen.mean()) if len(chosen) else np.nan
        return shifted_interval(value, self.resampled_mean, bounds=(-1.0, 1.0))

    @property
    def published(self) -> tuple[float, float]:
        """Bootstrap mean: mean and standard deviation (of the 64 numbers, not corrected) of 64 resamples.

        The tables of D-TRAK (arXiv 2311.00500) and of later papers report this as "mean ± std". A subset that is drawn
        twice makes ties, so this mean is lower than the plain mean: by 0.002 to 0.005 there, by more for few subsets.
        """
        resamples = self.resampled_mean[:PUBLISHED]
        return float(resamples.mean()), float(resamples.std())


def draw_resamples(subsets: int, *, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return how often each of S subsets is in each resample of S drawn with replacement, int64 [B, S].

    Numbers that are compared use the same resamples, so that what they share is no part of their difference.
    """
    return np.random.default_rng(seed).multinomial(subsets, np.full(subsets, 1 / subsets), resamples)


def shifted_interval(
    value: float, resampled: np.ndarray, *, bounds: tuple[float, float] = (-np.inf, np.inf), level: float = 0.95
) -> Statistic:
    """Return a number with the percentile interval of its resamples [B], shifted by the number minus their mean.

    Resamples have ties that the subsets don't have, and ties lower a rank correlation: the percentile interval alone
    lies too low, by about as much as the number is above the mean of the resamples. The shifted interval covers the
    mean over other subsets, as many as these. On normal numbers, with 64 subsets and a true correlation of .4 to .9, it
    does so 94% to 96% of the time (unshifted: 93%; reflected about the number: 88% to 94%), with 24 subsets 93% to 94%.

    It ends at `bounds`, and is from NaN to NaN where no value is left; resamples that are NaN are left out and counted.
    Chance is 0.

    Example:
        >>> mean = shifted_interval(0.5, np.linspace(0.2, 0.6, 101))
        >>> round(mean.interval.low, 3), round(mean.interval.high, 3)
        (0.31, 0.69)
    """
    defined = resampled[~np.isnan(resampled)]
    undefined = len(resampled) - len(defined)
    if not len(defined) or np.isnan(value):
        return Statistic(value, Interval(np.nan, np.nan, level, len(resampled), undefined), 0.0)
    ends = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) + (value - defined.mean())
    low, high = np.clip(ends, *bounds)
    return Statistic(value, Interval(float(low), float(high), level, len(resampled), undefined), 0.0)


@dataclass(frozen=True)
class Difference:
    """Difference of two mean correlations that were measured on the same subsets and queries.

    Attributes:
        statistic: First minus second, over the queries for which both have a correlation; its interval is for one
            comparison that was chosen before looking.
        subsets: Number of subsets.
        queries: Number of queries.
    """

    statistic: Statistic
    subsets: int
    queries: int

    @property
    def told_apart(self) -> bool:
        """Whether the interval is on one side of 0; if not, there are too few subsets to say which is better."""
        return self.statistic.interval.low > 0 or self.statistic.interval.high < 0

    @property
    def needed(self) -> int | None:
        """About how many subsets would make the interval end before 0, if the difference stays what it is.

        The half width goes with one over the square root of the number of subsets: S (half width / difference)^2. None
        where the difference is 0 or unknown.

        Example:
            >>> Difference(Statistic(0.01, Interval(-0.01, 0.03, 0.95, 1000, 0), 0.0), subsets=64, queries=50).needed
            256
        """
        value, interval = self.statistic.value, self.statistic.interval
        if not value or math.isnan(interval.low):
            return None
        return math.ceil(self.subsets * ((interval.high - interval.low) / 2 / value) ** 2)


def difference(first: Correlations, second: Correlations, *, subsets: int) -> Difference:
    """Return the paired difference of two methods, first minus second, that were measured with the same resamples.

    Example:
        >>> truth, counts = np.random.default_rng(0).normal(size=(40, 10)), draw_resamples(40, seed=0)
        >>> good, bad = (Correlations.measure(truth, sign * truth, counts) for sign in (1, -1))
        >>> lead = difference(good, bad, subsets=40)
        >>> round(lead.statistic.value, 9), lead.told_apart
        (2.0, True)
    """
    both = first.defined & second.defined
    a, b = first.only(both), second.only(both)
    value = a.mean.value - b.mean.value
    return Difference(shifted_interval(value, a.resampled_mean - b.resampled_mean), subsets, int(both.sum()))
