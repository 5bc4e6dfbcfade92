"""Ranks: Spearman's correlation of many columns at once, what stands at the top, and agreement of two rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from whence.errors import ConfigError, DataError
from whence.lazy import stats

#: Number of units at the top of a ranking.
TOP = 10


def spearman_columns(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of column q of `a` with column q of `b`, both [S, Q], float64 [Q].

    It is the Pearson correlation of ranks, where equal values share the mean of their ranks. It is NaN where a column
    is constant: equal values have no order, which is not the same as a correlation of 0.

    Raises:
        DataError: The shapes differ or there are fewer than two rows.

    Example:
        >>> spearman_columns(np.array([[1, 5], [2, 5], [9, 5]]), np.array([[1, 1], [4, 2], [5, 3]])).tolist()
        [1.0, nan]
    """
    require_columns(a, b)
    u, v = (_mean_ranks(values).T - (len(a) + 1) / 2 for values in (a, b))
    return _correlation(u, v, np.ones(len(a)))


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 in every column of [S, Q]; equal values share the mean of their ranks."""
    ranks = np.empty(values.shape)
    for q, column in enumerate(values.T):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        ranks[:, q] = (counts.cumsum() - (counts - 1) / 2)[place]
    return ranks


def resampled_spearman(a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return Spearman's correlations of columns [S, Q] in resamples, counts [B, S] of the rows, float64 [Q, B].

    A row that was drawn more than once is a tie with itself and shares its rank, as in `spearman_columns`. Nothing is
    sorted: the centred rank of row i in a resample is half the sum over j of c_j sign(a_i - a_j), a matrix product. It
    is NaN where all drawn values of a column are equal.

    Example:
        >>> rows, once = np.array([[1.0], [2.0], [3.0]]), np.array([[1, 1, 1], [2, 1, 0], [3, 0, 0]])
        >>> resampled_spearman(rows, rows[[0, 2, 1]], once).tolist()
        [[0.5, 1.0, nan]]
    """
    correlations: np.ndarray = resampled_spearman_pairs([a, b], counts)[0]
    return correlations


def resampled_spearman_pairs(columns: Sequence[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """Return `resampled_spearman` of every pair of K arrays [S, Q], in the order of `combinations`, float64 [P, Q, B].

    The ranks of an array are made once, not once for each of its pairs.

    Example:
        >>> rows, once = np.array([[1.0], [2.0], [3.0]]), np.array([[1, 1, 1]])
        >>> resampled_spearman_pairs([rows, rows[[0, 2, 1]], -rows], once).ravel().tolist()
        [0.5, -1.0, -0.5]
    """
    pairs = list(combinations(range(len(columns)), 2))
    for one, other in pairs:
        require_columns(columns[one], columns[other])
    weights = counts.astype(np.float32)  # ranks are exact in it
    correlations = np.empty((len(pairs), columns[0].shape[1], len(counts)))
    for q in range(columns[0].shape[1]):
        ranks = [_centred_ranks(column[:, q], weights) for column in columns]
        for pair, (one, other) in enumerate(pairs):
            correlations[pair, q] = _correlation(ranks[one], ranks[other], weights)
    return correlations


def require_columns(a: np.ndarray, b: np.ndarray) -> None:
    """Raise DataError unless arrays [S, Q] are comparable: of one shape, with 2 rows or more, all values finite."""
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise DataError(f"Columns of equal length, at least 2, are compared; given {a.shape} and {b.shape}.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("A value that is not finite has no rank; look for a model that did not train well.")


def _centred_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ranks of values [S] in resamples, minus the mean rank, [B, S]."""
    above: np.ndarray = np.sign(values[None, :] - values[:, None]).astype(np.float32)  # [j, i]
    ranks: np.ndarray = counts @ above / 2
    return ranks


def _correlation(u: np.ndarray, v: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation over the last axis of centred u and v; NaN where one has no variance."""
    uv, uu, vv = ((weights * x * y).sum(-1).astype(np.float64) for x, y in ((u, v), (u, u), (v, v)))
    scale = np.sqrt(uu * vv)
    correlations: np.ndarray = np.divide(uv, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return correlations


def top_columns(scores: np.ndarray, top: int) -> np.ndarray:
    """Return the columns of the `top` largest scores of every query, largest first, int [Q, top]; ties in their order.

    Raises:
        ConfigError: There are fewer examples.

    Example:
        >>> top_columns(np.array([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]]), 2).tolist()
        [[1, 2], [0, 1]]
    """
    require_scores(scores)
    if not 1 <= top <= scores.shape[1]:
        raise ConfigError(f"The top is from 1 to {scores.shape[1]:,} examples, as many as there are; given {top}.")
    columns: np.ndarray = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return columns


def require_scores(scores: np.ndarray) -> None:
    """Raise DataError if scores can't be ranked: they are not [Q, N] with queries and examples, or one is NaN."""
    if scores.ndim != 2 or 0 in scores.shape or np.isnan(scores).any():
        raise DataError(f"Scores of at least one query and example are ranked, none of them NaN; given {scores.shape}.")


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
        float(stats.spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else np.nan for x, y in zip(a, b, strict=True)
    ]
    shared = [len(_top(x, top) & _top(y, top)) / top for x, y in zip(a, b, strict=True)]
    return Agreement(tuple(queries), np.array(correlations), np.array(shared), top / a.shape[1])


def _top(values: np.ndarray, count: int) -> set[int]:
    return set(np.argsort(-values, kind="stable")[:count].tolist())
