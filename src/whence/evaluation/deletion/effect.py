"""Does removing what a method names hurt more than removing at random?

For query q and training seed k let a be the loss of q under a model trained without the examples that the method names,
b under one trained without as many random ones of the same classes. The increase of q is the mean of a - b over k;
everything else is said over queries. With distances of pictures in the place of losses the same is said of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from whence.errors import DataError
from whence.statistics.bootstrap import Interval, counted_bootstrap
from whence.statistics.statistic import Statistic, mean_of


@dataclass(frozen=True)
class Effect:
    """What removing the examples that a method names does, beside removing random ones.

    Attributes:
        named: Mean over queries and seeds without the named examples.
        random: The same without random ones.
        increase: Mean over queries of named minus random; positive where the method found what matters. By chance 0.
        relative: The mean increase divided by `random`. By chance 0.
        worse: Share of the queries for which it is positive, with its exact binomial interval. By chance 1/2.
    """

    named: float
    random: float
    increase: Statistic
    relative: Statistic
    worse: Statistic


def effect(values: np.ndarray) -> Effect:
    """Return the effect of removals.

    The intervals are over queries: what other queries, and the same training seeds, would give.

    Args:
        values: Losses, or distances of pictures, [2, Q', K]: without the named examples and without random ones.

    Raises:
        DataError: They have another shape, or one is not finite.

    Example:
        >>> found = effect(np.array([[[3.0], [2.0], [4.0]], [[2.0], [2.0], [2.0]]]))
        >>> found.named, found.random, found.increase.value, found.relative.value, round(found.worse.value, 3)
        (3.0, 2.0, 1.0, 0.5, 0.667)
    """
    if values.ndim != 3 or len(values) != 2 or not values.size or not np.isfinite(values).all():
        raise DataError(f"The effect of removals is that of finite numbers [2, queries, seeds]; given {values.shape}.")
    named, random = values.mean(2)
    return Effect(
        named=float(named.mean()),
        random=float(random.mean()),
        increase=mean_of(named - random, chance=0.0),
        relative=_ratio(named - random, random),
        worse=share(named > random),
    )


def harm(first: np.ndarray, second: np.ndarray) -> Statistic:
    """Return how much more the removals of one method hurt than those of another, on average over queries.

    What is compared is the loss (or distance) itself, not its increase over random removals, which may be of other
    classes for one method than for the other.

    Args:
        first: Without what the one names, [Q', K].
        second: Without what the other names, for the same queries and seeds.

    Raises:
        DataError: The shapes differ.

    Example:
        >>> harm(np.array([[3.0, 5.0]]), np.array([[1.0, 2.0]])).value
        2.5
    """
    if first.shape != second.shape or first.ndim != 2:
        raise DataError(f"Removals for the same queries and seeds are compared; given {first.shape}, {second.shape}.")
    return mean_of((first - second).mean(1), chance=0.0)


def share(true: np.ndarray) -> Statistic:
    """Return the share of queries for which something holds, with the exact (Clopper & Pearson 1934) 95% interval.

    Its chance is 1/2. Unlike a bootstrap interval it is not empty where all queries agree.

    Example:
        >>> found = share(np.ones(20, bool))
        >>> found.value, round(found.interval.low, 3), found.interval.high
        (1.0, 0.832, 1.0)
    """
    exact = binomtest(int(true.sum()), len(true)).proportion_ci(0.95, "exact")
    return Statistic(float(true.mean()), Interval(float(exact.low), float(exact.high), 0.95, 0, 0), 0.5)


def _ratio(values: np.ndarray, bases: np.ndarray) -> Statistic:
    """Sum of the values divided by the sum of the bases; NaN where that is 0."""

    def ratio(drawn: np.ndarray) -> np.ndarray:
        base = drawn @ bases
        found: np.ndarray = np.divide(drawn @ values, base, out=np.full(len(base), np.nan), where=base != 0)
        return found

    value = float(ratio(np.ones((1, len(values))))[0])
    if np.isnan(value):
        return Statistic(value, Interval(np.nan, np.nan, 0.95, 0, 0), 0.0)
    return Statistic(value, counted_bootstrap(len(values), ratio, seed=0), 0.0)
