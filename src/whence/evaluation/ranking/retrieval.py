"""Retrieval: are examples of the query's class, the query itself, or outliers at the top of a ranking?

In each case the right answer is known without training a model again. Tracing checks that a method works at all, not
that it is right about other images: likeness of pixels passes it by definition. Xie et al. 2024 (Diffusion-ReTrac,
arXiv 2401.09031) use it so, and look for 200 zeros of MNIST among 5,000 photographs of planes. What is rare is learned
from the rare example itself, so the self-influence S[n, n] of an outlier or a wrong label should be large (Koh & Liang
2017, arXiv 1703.04730; Pruthi et al. 2020, TracIn, arXiv 2002.08484).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whence.errors import ConfigError, DataError
from whence.statistics.ranks import require_scores, top_columns
from whence.statistics.statistic import Statistic, bootstrap_statistic, mean_of

#: Number of examples at the top of each query.
TOP = 10


def precision(
    scores: np.ndarray, right: np.ndarray, top: int = TOP, *, itself: np.ndarray | None = None, seed: int = 0
) -> Statistic:
    """Return precision@k: the share of the top k examples that are right for the query, mean over queries.

    From 0 to 1, more is better. A right example need not be an influential one: a method may be faithful to the model
    and still name other classes. Chance is the mean over queries of the share of right examples; the interval is over
    queries. Xie et al. 2024 (arXiv 2401.09031) measure this for two sources, photographs of planes and zeros of MNIST.

    Of scores [Q, N] the larger is more; `right` is bool [Q, N]. The query `itself`, a column of the examples, int [Q],
    or -1 where it is none, is always right, so it is taken out of the ranking.

    Raises:
        DataError: The shapes differ, there is no query or example, or a score is NaN.
        ConfigError: There are fewer than `top` examples beside the query.

    Example:
        >>> share = precision(np.array([[3.0, 2.0, 1.0, 0.0]]), np.array([[True, False, True, False]]), top=3)
        >>> round(share.value, 3), share.chance
        (0.667, 0.5)
    """
    require_scores(scores)
    if right.shape != scores.shape:
        raise DataError(f"Scores {scores.shape} and what is right {right.shape} must be of the same shape.")
    ranked, hits = scores.astype(np.float64), right.astype(np.float64)
    others = np.full(len(scores), scores.shape[1])
    if itself is not None:
        rows = np.flatnonzero(itself >= 0)
        ranked[rows, itself[rows]] = -np.inf
        hits[rows, itself[rows]] = 0
        others[rows] -= 1
    if top > others.min():
        raise ConfigError(f"The top is from 1 to {others.min():,} examples beside the query; given {top}.")
    shares = np.take_along_axis(hits, top_columns(ranked, top), 1).mean(1)
    return mean_of(shares, float((hits.sum(1) / others).mean()), seed)


def shared_units(queries: Sequence[Sequence[str]], examples: Sequence[Sequence[str]]) -> np.ndarray:
    """Return whether a query and an example have a unit in common, bool [Q, N]; raise DataError if none has."""
    members: dict[str, list[int]] = {}
    for n, units in enumerate(examples):
        for unit in units:
            members.setdefault(unit, []).append(n)
    shared = np.zeros((len(queries), len(examples)), dtype=bool)
    for q, units in enumerate(queries):
        for unit in units:
            shared[q, members.get(unit, [])] = True
    if not shared.any():
        raise DataError(
            f"No query has a class in common with a training image: queries {_first_units(queries)}, training images "
            f"{_first_units(examples)}. Name the column that holds it: --unit-column."
        )
    return shared


def _first_units(units: Sequence[Sequence[str]]) -> str:
    """The first three units, in quotes."""
    names = list(dict.fromkeys(unit for names in units for unit in names))
    return ", ".join(repr(name) for name in names[:3]) + (" ..." if len(names) > 3 else "")


@dataclass(frozen=True)
class Tracing:
    """Where training images come in the ranking for themselves; intervals are over queries.

    Attributes:
        first: Share of the queries that come first; chance: 1/N.
        in_top: Share of the queries among the first 10; chance: min(1, 10/N).
        reciprocal: Mean of 1 / (place from the top, from 1); chance: H_N / N with H_N = 1 + 1/2 + ... + 1/N.
    """

    first: Statistic
    in_top: Statistic
    reciprocal: Statistic


def tracing(scores: np.ndarray, itself: np.ndarray, *, seed: int = 0) -> Tracing:
    """Return where each query, whose own column is `itself`, int [Q], comes in its own ranking [Q, N], larger is more.

    Equal scores are in random order, and the mean over their orders is taken. So a method that gives all examples the
    same score is at chance.

    Raises:
        DataError: There is no query or example, a score is NaN, or a query is no example.

    Example:
        >>> traced = tracing(np.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), np.array([0, 2]))
        >>> traced.first.value, traced.in_top.value, traced.reciprocal.value
        (0.5, 1.0, 0.75)
    """
    require_scores(scores)
    if itself.shape != (len(scores),) or (itself < 0).any() or (itself >= scores.shape[1]).any():
        raise DataError(f"Every query must be one of the {scores.shape[1]:,} examples to be traced back to itself.")
    count = scores.shape[1]
    score = scores[np.arange(len(scores)), itself][:, None]
    above, equal = (scores > score).sum(1), (scores == score).sum(1)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, count + 1))])
    return Tracing(
        first=mean_of(np.where(above == 0, 1 / equal, 0), 1 / count, seed),
        in_top=mean_of(np.clip((TOP - above) / equal, 0, 1), min(1, TOP / count), seed),
        reciprocal=mean_of((harmonic[above + equal] - harmonic[above]) / equal, float(harmonic[-1] / count), seed),
    )


@dataclass(frozen=True)
class Outliers:
    """How well a number tells m outliers from the other examples, N in all.

    Intervals are a bootstrap in which outliers and other examples are drawn again separately.

    Attributes:
        area: Area under the ROC curve: how often an outlier is above another example; chance: 1/2.
        recall: Share of the outliers that are among the top m, which is also the precision there; chance: m/N.
        precision: Average precision: mean, over the outliers, of the precision from the top down to each; chance: the
            exact mean over random orders, ((m - 1)/(N - 1)) (1 - H_N/N) + H_N/N with H_N = 1 + 1/2 + ... + 1/N.
    """

    area: Statistic
    recall: Statistic
    precision: Statistic


def outliers(values: np.ndarray, outlier: np.ndarray, *, seed: int = 0) -> Outliers:
    """Return how well self-influence S[n, n], [N], finds outliers, bool [N], which should have the largest.

    Equal values share their place: a pair of equal values counts half for the area, and of equal values at the edge of
    the top m a share is in the top.

    Raises:
        DataError: There is no outlier or nothing else, or a value is NaN.

    Example:
        >>> result = outliers(np.array([5.0, 1.0, 4.0, 2.0, 3.0]), np.array([True, False, False, False, True]))
        >>> round(result.area.value, 3), result.recall.value, result.recall.chance
        (0.833, 0.5, 0.4)
    """
    if values.shape != outlier.shape or values.ndim != 1 or np.isnan(values).any():
        raise DataError(f"Every example has a value, none of them NaN; given {values.shape} and {outlier.shape}.")
    count, total = len(outlier), int(outlier.sum())
    if total in (0, count):
        raise DataError(f"{total} of {count} examples are outliers; there must be outliers and other examples.")
    order = np.argsort(-values, kind="stable")
    levels = np.flatnonzero(np.diff(values[order], prepend=np.inf))
    is_outlier = outlier[order].astype(np.float64)
    mean_place = float((1 / np.arange(1, count + 1)).mean())

    def measure(function: Callable[[np.ndarray, np.ndarray], np.ndarray], chance: float) -> Statistic:
        def statistic(counts: np.ndarray) -> np.ndarray:
            counts = counts[:, order]
            hits = np.add.reduceat(counts * is_outlier, levels, 1)
            return function(hits, np.add.reduceat(counts * (1 - is_outlier), levels, 1))

        return bootstrap_statistic(count, statistic, chance, seed, outlier)

    return Outliers(
        area=measure(_area, 0.5),
        recall=measure(_recall, total / count),
        precision=measure(_average_precision, (total - 1) / (count - 1) * (1 - mean_place) + mean_place),
    )


def _area(hits: np.ndarray, others: np.ndarray) -> np.ndarray:
    """From outliers and other examples at each level of the values [b, levels], largest first, to areas [b]."""
    above = np.cumsum(hits, 1) - hits / 2
    areas: np.ndarray = (above * others).sum(1) / (hits.sum(1) * others.sum(1))
    return areas


def _recall(hits: np.ndarray, others: np.ndarray) -> np.ndarray:
    size, total = hits + others, hits.sum(1)
    before = np.cumsum(size, 1) - size
    inside = np.clip((total[:, None] - before) / np.maximum(size, 1), 0, 1)
    recalls: np.ndarray = (hits * inside).sum(1) / total
    return recalls


def _average_precision(hits: np.ndarray, others: np.ndarray) -> np.ndarray:
    correct, reached = np.cumsum(hits, 1), np.cumsum(hits + others, 1)
    precisions: np.ndarray = (hits * correct / np.maximum(reached, 1)).sum(1) / hits.sum(1)
    return precisions
