"""Outliers: do training examples that don't belong to the data have a large self-influence?

A model learns what is common from many examples and what is rare from the rare example itself, so the self-influence
S[n, n] of an outlier or a wrong label should be large (Koh & Liang 2017, arXiv 1703.04730; Pruthi et al. 2020, TracIn,
arXiv 2002.08484). Xie et al. 2024 (arXiv 2401.09031) look for 200 zeros of MNIST among 5,000 photographs of planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.statistics.statistic import Statistic, bootstrap_statistic


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
    """Return how well self-influence finds outliers.

    Equal values share their place: a pair of equal values counts half for the area, and of equal values at the edge of
    the top m a share is in the top.

    Args:
        values: S[n, n] of every example, [N]; outliers should have the largest.
        outlier: Which examples are outliers, bool [N].
        seed: Seed of the bootstrap.

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
    chances = {
        "area": 0.5,
        "recall": total / count,
        "precision": (total - 1) / (count - 1) * (1 - mean_place) + mean_place,
    }

    def measure(name: str) -> Statistic:
        def statistic(counts: np.ndarray) -> np.ndarray:
            counts = counts[:, order]
            hits = np.add.reduceat(counts * is_outlier, levels, 1)
            return _STATISTICS[name](hits, np.add.reduceat(counts * (1 - is_outlier), levels, 1))

        return bootstrap_statistic(count, statistic, chances[name], seed, outlier)

    return Outliers(*(measure(name) for name in ("area", "recall", "precision")))


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


_STATISTICS = {"area": _area, "recall": _recall, "precision": _average_precision}
