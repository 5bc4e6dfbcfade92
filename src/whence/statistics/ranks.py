"""Spearman's rank correlation of many columns at once, also for resamples of the rows."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from whence.errors import DataError


def spearman_columns(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of column q of `a` with column q of `b`, float64 [Q].

    It is the Pearson correlation of ranks, where equal values share the mean of their ranks. It is NaN where a column
    is constant: equal values have no order, which is not the same as a correlation of 0.

    Args:
        a: Values [S, Q].
        b: Values [S, Q].

    Returns:
        The correlations, between -1 and 1.

    Raises:
        DataError: The shapes differ or there are fewer than two rows.

    Example:
        >>> spearman_columns(np.array([[1, 5], [2, 5], [9, 5]]), np.array([[1, 1], [4, 2], [5, 3]])).tolist()
        [1.0, nan]
    """
    require_columns(a, b)
    u, v = (rankdata(values, axis=0).T - (len(a) + 1) / 2 for values in (a, b))
    return _correlation(u, v, np.ones(len(a)))


def resampled_spearman(a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlations of resamples of the rows, float64 [Q, B].

    A row that was drawn more than once is a tie with itself and shares its rank, as in `spearman_columns`. Nothing is
    sorted: the centred rank of row i in a resample is half the sum over j of c_j sign(a_i - a_j), a matrix product.

    Args:
        a: Values [S, Q].
        b: Values [S, Q].
        counts: How often each row is in each resample, [B, S].

    Returns:
        The correlations; NaN where all drawn values of a column are equal.

    Example:
        >>> rows, once = np.array([[1.0], [2.0], [3.0]]), np.array([[1, 1, 1], [2, 1, 0], [3, 0, 0]])
        >>> resampled_spearman(rows, rows[[0, 2, 1]], once).tolist()
        [[0.5, 1.0, nan]]
    """
    require_columns(a, b)
    weights = counts.astype(np.float32)  # ranks are exact in it
    correlations = np.empty((a.shape[1], len(counts)))
    for q, (x, y) in enumerate(zip(a.T, b.T, strict=True)):
        correlations[q] = _correlation(_centred_ranks(x, weights), _centred_ranks(y, weights), weights)
    return correlations


def require_columns(a: np.ndarray, b: np.ndarray) -> None:
    """Check that two arrays [S, Q] can be compared column by column.

    Raises:
        DataError: Their shapes differ, there are fewer than two rows, or a value is not finite.
    """
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
