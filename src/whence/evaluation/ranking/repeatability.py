"""Repeatability: do two independent sets of draws name the same examples, in the same order?

Scores of gradient methods are means over random timesteps and noise. What two sets of draws don't agree on is neither
the model's nor the data's, and no evaluation can find it right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import rankdata

from whence.errors import DataError
from whence.evaluation.ranking.top import top_columns
from whence.statistics.statistic import Statistic as Statistic
from whence.statistics.statistic import mean_of

#: Examples at the top of each set that are compared.
TOP = 100
#: Pairs of random orders from which chance is known.
PAIRS = 200


@dataclass(frozen=True, eq=False)
class Repeatability:
    """How two sets of scores agree at the top; intervals are over queries.

    Attributes:
        correlation: Spearman's rank correlation over the examples that are in the top of either, mean over queries.
            Chance is not 0 but below: an example that only one set puts at the top is lower in the other.
        overlap: Share of the top of one that is in the top of the other, mean over queries; chance: top/N.
        correlations: Of each query, [Q]; NaN where all scores of those examples are equal in one set.
        overlaps: Of each query, [Q].
    """

    correlation: Statistic
    overlap: Statistic
    correlations: np.ndarray
    overlaps: np.ndarray


def repeatability(a: np.ndarray, b: np.ndarray, top: int = TOP, *, seed: int = 0) -> Repeatability:
    """Return how two sets of scores of the same queries and examples agree at the top.

    Args:
        a: Larger is more, [Q, N].
        b: Of the same method by other draws, [Q, N].
        top: Examples of each set; all of them where there are no more.
        seed: Seed of the bootstrap.

    Raises:
        DataError: The shapes differ, there are fewer than two examples, a score is NaN, or of no query the scores at
            the top differ.

    Example:
        >>> scores = np.arange(40.0).reshape(1, 40)
        >>> same = repeatability(scores, scores**2, top=10)
        >>> same.correlation.value, same.overlap.value, same.overlap.chance
        (1.0, 1.0, 0.25)
        >>> -1 < same.correlation.chance < -0.5
        True
    """
    if a.shape != b.shape or a.ndim != 2 or a.shape[-1] < 2:
        raise DataError(f"Scores of the same queries and examples are compared; given {a.shape} and {b.shape}.")
    count = a.shape[1]
    top = min(top, count)
    first, second = (_among(top_columns(scores, top), count) for scores in (a, b))
    correlations = np.array([_spearman(x[u], y[u]) for x, y, u in zip(a, b, first | second, strict=True)])
    overlaps = (first & second).sum(1) / top
    defined = correlations[~np.isnan(correlations)]
    if not len(defined):
        raise DataError("The scores at the top are equal for every query, so they have no order that could repeat.")
    return Repeatability(
        mean_of(defined, chance_correlation(count, top), seed),
        mean_of(overlaps, top / count, seed),
        correlations,
        overlaps,
    )


def _among(columns: np.ndarray, count: int) -> np.ndarray:
    """Whether an example is one of a query's columns, bool [Q, N]."""
    found = np.zeros((len(columns), count), dtype=bool)
    np.put_along_axis(found, columns, True, 1)
    return found


@cache
def chance_correlation(count: int, top: int) -> float:
    """Return the mean correlation of two random orders over the examples in the top of either, by simulation.

    Example:
        >>> abs(chance_correlation(50, 50)) < 0.05  # over all examples
        True
    """
    source = np.random.default_rng(0)
    found = []
    for _ in range(PAIRS):
        x, y = source.permutation(count), source.permutation(count)
        either = (x >= count - top) | (y >= count - top)
        found.append(_spearman(x[either], y[either]))
    return float(np.nanmean(found))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of ranks, equal values sharing theirs; NaN where one is constant."""
    x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else np.nan
