"""Is one method better than another, or did the subsets happen to suit it?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from whence.statistics.statistic import Statistic as Statistic
from whence.statistics.uncertainty import Correlations, shifted


@dataclass(frozen=True)
class Difference:
    """Difference of two mean correlations that were measured on the same subsets and queries.

    Attributes:
        measured: The first minus the second, over the queries for which both have a correlation; its interval is for
            one comparison that was chosen before looking.
        subsets: Subsets that it was measured on.
        queries: Queries that it was measured on.
    """

    measured: Statistic
    subsets: int
    queries: int

    @property
    def told_apart(self) -> bool:
        """Whether the interval is on one side of 0; if not, there are too few subsets to say which is better."""
        return self.measured.interval.low > 0 or self.measured.interval.high < 0

    @property
    def needed(self) -> int | None:
        """About how many subsets the interval needs to end before 0, if the difference stays what it is.

        Its half width goes with one over the square root of the number of subsets: S (half width / difference)^2. None
        where the difference is 0 or unknown.

        Example:
            >>> from whence.statistics.bootstrap import Interval
            >>> Difference(Statistic(0.01, Interval(-0.01, 0.03, 0.95, 1000, 0), 0.0), subsets=64, queries=50).needed
            256
        """
        value, interval = self.measured.value, self.measured.interval
        if not value or math.isnan(interval.low):
            return None
        return math.ceil(self.subsets * ((interval.high - interval.low) / 2 / value) ** 2)


def difference(first: Correlations, second: Correlations, *, subsets: int) -> Difference:
    """Return the paired difference of two methods, which must have been measured with the same resamples.

    Args:
        first: Of one method.
        second: Of the other.
        subsets: Subsets that both were measured on.

    Returns:
        The first minus the second.

    Example:
        >>> import numpy as np
        >>> from whence.statistics.uncertainty import resamples_of
        >>> truth, counts = np.random.default_rng(0).normal(size=(40, 10)), resamples_of(40, seed=0)
        >>> good, bad = (Correlations.measure(truth, sign * truth, counts) for sign in (1, -1))
        >>> found = difference(good, bad, subsets=40)
        >>> round(found.measured.value, 9), found.told_apart
        (2.0, True)
    """
    both = first.defined & second.defined
    a, b = first.only(both), second.only(both)
    value = a.mean.value - b.mean.value
    return Difference(shifted(value, a.resampled_mean - b.resampled_mean), subsets, int(both.sum()))
