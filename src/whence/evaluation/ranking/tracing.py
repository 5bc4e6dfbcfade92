"""Tracing: are training images, as queries, traced back to themselves?

Here the right answer is known without training a model again. Tracing checks that a method works at all, not that it
is right about other images: likeness of pixels passes it by definition. Xie et al. 2024 (Diffusion-ReTrac, arXiv
2401.09031) use it in this way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.ranking.top import require_scores
from whence.statistics.statistic import Statistic, mean_of

#: Number of places from the top that count as near the top.
TOP = 10


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
    """Return where each query comes in its own ranking.

    Equal scores are in random order, and the mean over their orders is taken. So a method that gives all examples the
    same score is at chance.

    Args:
        scores: Larger is more, [Q, N]; positive = proponent.
        itself: Column of the query itself, int [Q].
        seed: Seed of the bootstrap.

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
