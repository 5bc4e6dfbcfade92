"""Agreement of two rankings of the same units: rank correlation and shared units at the top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from whence.errors import DataError

#: Number of units at the top of a ranking.
TOP = 10


@dataclass(frozen=True)
class Agreement:
    """How two rankings of the same units agree, query by query.

    Attributes:
        queries: Ids of the queries, Q.
        correlations: Spearman's rank correlation over units, float64 [Q]; NaN where a ranking is constant.
        recalls: Share of the top units of one that are among the top of the other, float64 [Q].
        chance: Mean of `recalls` for a random ranking.
    """

    queries: tuple[str, ...]
    correlations: np.ndarray
    recalls: np.ndarray
    chance: float


def agreement(queries: Sequence[str], a: np.ndarray, b: np.ndarray) -> Agreement:
    """Return how the rankings a and b agree, both [Q, U], larger is more.

    Raises:
        DataError: They are of different shapes, or there are fewer than two units.

    Example:
        >>> both = agreement(["q"], np.arange(20.0)[None], np.arange(20.0)[None] ** 2)
        >>> both.correlations.tolist(), both.recalls.tolist(), both.chance
        ([1.0], [1.0], 0.5)
    """
    if a.shape != b.shape or a.ndim != 2 or len(queries) != len(a) or a.shape[1] < 2:
        raise DataError(f"Rankings of the same queries and units are compared; given {a.shape} and {b.shape}.")
    top = min(TOP, a.shape[1])
    correlations = [
        float(spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else np.nan for x, y in zip(a, b, strict=True)
    ]
    shared = [len(_top(x, top) & _top(y, top)) / top for x, y in zip(a, b, strict=True)]
    return Agreement(tuple(queries), np.array(correlations), np.array(shared), top / a.shape[1])


def _top(values: np.ndarray, count: int) -> set[int]:
    return set(np.argsort(-values, kind="stable")[:count].tolist())
