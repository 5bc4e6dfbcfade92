"""Outliers: do training examples that don't belong stand out by their influence on themselves?

A model learns what is common from many examples and what is rare from the rare example itself, so the self-influence
S[n, n] of an outlier or a wrong label should be large (Koh & Liang 2017, arXiv 1703.04730; Pruthi et al. 2020, TracIn,
arXiv 2002.08484). Xie et al. 2024 (arXiv 2401.09031) look for 200 zeros of MNIST among 5,000 photographs of planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.statistics.statistic import Statistic as Statistic
from whence.statistics.statistic import bootstrapped


@dataclass(frozen=True)
class Outliers:
    """How well a number tells m outliers from the other examples, N in all.

    Intervals are from drawing outliers and others again, each among themselves.

    Attributes:
        area: Area under the ROC curve: how often an outlier is above another example; chance: 1/2.
        recall: Share of the outliers among the top m, which is also the precision there; chance: m/N.
        precision: Average precision: mean over the outliers of the precision down to each; chance: the exact mean over
            random orders, ((m - 1)/(N - 1)) (1 - H_N/N) + H_N/N with H_N = 1 + 1/2 + ... + 1/N.
    """

    area: Statistic
    recall: Statistic
    precision: Statistic


def outliers(values: np.ndarray, outlier: np.ndarray, *, seed: int = 0) -> Outliers:
    """Return how well self-influence finds outliers.

    Equal values share their place: half of such pairs count for the area, and of those at the edge of the top m a share
    is in it.

    Args:
        values: S[n, n] of every example, [N]; outliers are looked for at the top.
        outlier: Which examples are outliers, bool [N].
        seed: Seed of the bootstrap.

    Raises:
        DataError: There is no outlier or nothing else, or a value is NaN.

    Example:
        >>> found = outliers(np.array([5.0, 1.0, 4.0, 2.0, 3.0]), np.array([True, False, False, False, True]))
        >>> round(found.area.value, 3), found.recall.value, found.recall.chance
        (0.833, 0.5, 0.4)
    """
    if values.shape != outlier.shape or values.ndim != 1 or np.isnan(values).any():
        raise DataError(f"Every example has a value, none of them NaN; given {values.shape} and {outlier.shape}.")
    count, wanted = len(outlier), int(outlier.sum())
    if wanted in (0, count):
        raise DataError(f"{wanted} of {count} examples are outliers; there must be some, and others.")
    order = np.argsort(-values, kind="stable")
    levels = np.flatnonzero(np.diff(values[order], prepend=np.inf))
    is_outlier = outlier[order].astype(np.float64)
    mean_place = float((1 / np.arange(1, count + 1)).mean())
    chances = {
        "area": 0.5,
        "recall": wanted / count,
        "precision": (wanted - 1) / (count - 1) * (1 - mean_place) + mean_place,
    }

    def measured(name: str) -> Statistic:
        def statistic(drawn: np.ndarray) -> np.ndarray:
            drawn = drawn[:, order]
            found = np.add.reduceat(drawn * is_outlier, levels, 1)
            return _STATISTICS[name](found, np.add.reduceat(drawn * (1 - is_outlier), levels, 1))

        return bootstrapped(count, statistic, chances[name], seed, outlier)

    return Outliers(*(measured(name) for name in ("area", "recall", "precision")))


def _area(found: np.ndarray, others: np.ndarray) -> np.ndarray:
    """From outliers and others at each level of the values [b, levels], largest first, to areas [b]."""
    above = np.cumsum(found, 1) - found / 2
    total: np.ndarray = (above * others).sum(1) / (found.sum(1) * others.sum(1))
    return total


def _recall(found: np.ndarray, others: np.ndarray) -> np.ndarray:
    size, wanted = found + others, found.sum(1)
    before = np.cumsum(size, 1) - size
    inside = np.clip((wanted[:, None] - before) / np.maximum(size, 1), 0, 1)
    total: np.ndarray = (found * inside).sum(1) / wanted
    return total


def _average_precision(found: np.ndarray, others: np.ndarray) -> np.ndarray:
    correct, seen = np.cumsum(found, 1), np.cumsum(found + others, 1)
    total: np.ndarray = (found * correct / np.maximum(seen, 1)).sum(1) / found.sum(1)
    return total


_STATISTICS = {"area": _area, "recall": _recall, "precision": _average_precision}
