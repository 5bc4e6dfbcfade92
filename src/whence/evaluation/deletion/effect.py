"""Does removing what a method names hurt more than removing at random?

For query q and training seed k let a be the loss of q under a model that was trained without the examples that the
method names, and b under one without as many random examples of the same classes. The increase of q is the mean of
a - b over k; means, shares and intervals are over queries. The same is computed for pictures, with distances in the
place of losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank import Bank
from whence.evaluation.deletion.deletion import Deletion
from whence.statistics.statistic import Interval, Statistic, counted_bootstrap, mean_of, share


@dataclass(frozen=True)
class Effect:
    """What removing the examples that a method names does, compared with removing random ones.

    Attributes:
        named: Mean over queries and seeds without the named examples.
        random: Mean over queries and seeds without the random ones.
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
    """Return the effect of removals on losses or distances [2, Q', K]: without named and without random examples.

    Intervals are for other queries and the same training seeds.

    Raises:
        DataError: They have another shape, or one is not finite.

    Example:
        >>> increased = effect(np.array([[[3.0], [2.0], [4.0]], [[2.0], [2.0], [2.0]]]))
        >>> increased.named, increased.random, increased.increase.value, increased.relative.value
        (3.0, 2.0, 1.0, 0.5)
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
    """Return how much more the removals of one method hurt than those of another, [Q', K] each, mean over queries.

    The losses (or distances) without the named examples are compared, not their increase over random removals: the
    random examples of one method may be of other classes than those of the other.

    Raises:
        DataError: The shapes differ.

    Example:
        >>> harm(np.array([[3.0, 5.0]]), np.array([[1.0, 2.0]])).value
        2.5
    """
    if first.shape != second.shape or first.ndim != 2:
        raise DataError(f"Removals for the same queries and seeds are compared; given {first.shape}, {second.shape}.")
    return mean_of((first - second).mean(1), chance=0.0)


def _ratio(values: np.ndarray, bases: np.ndarray) -> Statistic:
    """Sum of the values divided by the sum of the bases; NaN where that is 0."""

    def ratio(drawn: np.ndarray) -> np.ndarray:
        base = drawn @ bases
        ratios: np.ndarray = np.divide(drawn @ values, base, out=np.full(len(base), np.nan), where=base != 0)
        return ratios

    value = float(ratio(np.ones((1, len(values))))[0])
    if np.isnan(value):
        return Statistic(value, Interval(np.nan, np.nan, 0.95, 0, 0), 0.0)
    return Statistic(value, counted_bootstrap(len(values), ratio, seed=0), 0.0)


@dataclass(frozen=True)
class DeletionEffects:
    """What the removals of a method do.

    Attributes:
        loss: The effect on the loss of the query for which the examples were removed.
        others: The effect on the mean loss of the other queries; large where a method names what all queries need.
        picture: The effect on the distance from the query of the picture that is drawn again; None if none was drawn.
    """

    loss: Effect
    others: Effect
    picture: Effect | None

    @classmethod
    def of(cls, bank: Bank, deletion: Deletion) -> DeletionEffects:
        """Return the effects of measured removals."""
        distances = deletion.distances(bank)
        picture = effect(distances) if distances.shape[1] else None
        return cls(effect(deletion.query_losses), effect(deletion.other_losses(bank)), picture)


@dataclass(frozen=True)
class DeletionComparison:
    """How much more the removals of one method hurt than those of another, for the queries that both have.

    Attributes:
        loss: Difference of the losses of the query.
        picture: Difference of the distances of the picture from the query; None if none was drawn.
        queries: How many queries both have.
    """

    loss: Statistic
    picture: Statistic | None
    queries: int

    @classmethod
    def of(cls, bank: Bank, first: Deletion, second: Deletion) -> DeletionComparison:
        """Return the first minus the second, by `harm`.

        Raises:
            DataError: They are of different numbers of examples, or have no query or no training seed in common.
        """
        a, b = first.removal, second.removal
        queries = [q for q in a.queries if q in b.queries]
        seeds = [seed for seed in a.seeds if seed in b.seeds]
        if not queries or not seeds or a.removed.shape[1] != b.removed.shape[1]:
            raise DataError(
                f"Removals are compared that are of equally many examples and share queries and seeds; those of "
                f"{a.method} ({a.removed.shape[1]} examples) and {b.method} ({b.removed.shape[1]}) share "
                f"{len(queries)} queries and {len(seeds)} seeds."
            )
        drawn = [q for q in queries if bank.drawn[q]]
        both = (first, second)
        losses = [_select(one, one.query_losses, one.removal.queries, queries, seeds) for one in both]
        distances = [_select(one, one.distances(bank), one.drawn_queries(bank), drawn, seeds) for one in both]
        return cls(harm(*losses), harm(*distances) if drawn else None, len(queries))


def _select(
    deletion: Deletion, values: np.ndarray, rows: tuple[int, ...], queries: list[int], seeds: list[int]
) -> np.ndarray:
    """Values [2, Q', K] without the named examples, of some queries and seeds."""
    columns = [deletion.removal.seeds.index(seed) for seed in seeds]
    selected: np.ndarray = values[0][[rows.index(q) for q in queries]][:, columns]
    return selected
