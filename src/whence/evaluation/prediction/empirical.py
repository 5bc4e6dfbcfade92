"""Empirical influence: the loss of models that never saw an example, against that of models that did."""

from __future__ import annotations

import numpy as np

from whence.errors import DataError


def empirical_influence(kept: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return E_qn = mean loss of q over models without n - mean loss of q over models with n, float64 [Q, N].

    Sign: positive is proponent, training on n lowers the loss of q. Unit: that of the loss; the change from leaving n
    out of a random subset, on average over subsets. Needs no gradient, but many retrained models: its error is about
    2 σ / √S for subsets of one half, with σ the standard deviation of a loss over the subsets.

    Source: Feldman & Zhang 2020, "What neural networks memorize and why" (arXiv 2008.03703), of losses; as a baseline
    for diffusion models, with the opposite sign, Zheng et al. 2024 (D-TRAK, arXiv 2311.00500).

    Args:
        kept: Which examples each subset keeps, bool [S, N].
        losses: Of each query, after training on each subset, [S, Q].

    Raises:
        DataError: Shapes don't fit, a loss is not finite, or an example is in every subset, or in none.

    Example:
        >>> empirical_influence(np.array([[True, False], [False, True]]), np.array([[1.0], [3.0]])).tolist()
        [[2.0, -2.0]]
    """
    require_measured(kept, losses)
    with_n = kept.sum(0)
    if (with_n == 0).any() or (with_n == len(kept)).any():
        n = int(np.flatnonzero((with_n == 0) | (with_n == len(kept)))[0])
        raise DataError(
            f"Example {n} (from 0) is in {with_n[n]} of {len(kept)} subsets, so models with it and without it can't be "
            "compared; retrain on more subsets."
        )
    centred = losses - losses.mean(0)
    within = centred.T @ kept.astype(np.float64)
    found: np.ndarray = -within / (len(kept) - with_n) - within / with_n
    return found


def require_measured(kept: np.ndarray, losses: np.ndarray) -> None:
    """Check that there is a loss of every query for every subset.

    Raises:
        DataError: Shapes don't fit, there are fewer than two subsets, or a loss is not finite.
    """
    if kept.dtype != bool or kept.ndim != 2 or losses.ndim != 2 or len(kept) != len(losses) or len(kept) < 2:
        raise DataError(
            f"Subsets are bool [S, N] and losses [S, Q], at least 2 subsets; given {kept.dtype} {kept.shape} and "
            f"{losses.shape}."
        )
    if not np.isfinite(losses).all():
        raise DataError("A loss is not finite; look for a model that did not train well.")
