"""Bounded weights of training examples by which the largest loss of a group falls, to first order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from whence.errors import ConfigError, DataError


def bounded_weights(
    losses: np.ndarray, derivative: np.ndarray, shares: np.ndarray, weights: np.ndarray, bound: float
) -> np.ndarray:
    """Return the weights v, float64 [N], for which the largest predicted loss of a group is smallest.

        min_v max_g L_g(v),    L_g(v) = L_g + Σ_n ∂L_g/∂w_n (v_n - w_n),
        Σ_n v_n = Σ_n w_n,     (1 - b) w_n ≤ v_n ≤ (1 + b) w_n,     Σ_g p_g L_g(v) ≤ Σ_g p_g L_g

    The last condition says that the mean loss does not rise. It is a linear program, solved exactly. With one group the
    mean loss itself is minimised. The unit of w is that of the loss of a training step, where 1 is no change.

    Source: the step of metagradient descent (Engstrom et al. 2025, arXiv 2503.13751) with the worst group of Sagawa et
    al. 2020 (arXiv 1911.08731, eq. 4) as its aim, taken once within bounds.

    Args:
        losses: L_g, float64 [G].
        derivative: ∂L_g/∂w_n at w, float64 [G, N].
        shares: Share p_g of each group among the pictures, float64 [G], which add up to 1.
        weights: w_n of the run, float64 [N], above 0.
        bound: b, above 0 and at most 1.

    Raises:
        ConfigError: The bound is out of range.
        DataError: Shapes don't fit.

    Example:
        >>> one = np.array([1.0])
        >>> derivative = np.array([[-0.2, 0.1, 0.0]])
        >>> bounded_weights(one, derivative, one, np.ones(3), 1.0).tolist()
        [2.0, 0.0, 1.0]
    """
    if not 0 < bound <= 1:
        raise ConfigError(f"A bound of {bound:g} is out of range: weights change by a share above 0 and at most 1.")
    groups, count = derivative.shape
    if losses.shape != (groups,) or shares.shape != (groups,) or weights.shape != (count,):
        raise DataError(
            f"A derivative {derivative.shape} needs {groups} losses and shares and {count} weights; given "
            f"{losses.shape}, {shares.shape} and {weights.shape}."
        )
    scale = np.abs(losses).max()  # the solver's tolerances are for numbers near 1
    slopes, levels = derivative * weights / scale, losses / scale
    rows = np.block([[slopes, -np.ones((groups, 1))], [shares @ slopes, np.zeros(1)]])
    limits = np.append(-levels, 0.0)
    aim = np.append(np.zeros(count), 1.0)
    balance = np.append(weights, 0.0)[None]
    edges = [*((-bound, bound),) * count, (None, None)]  # of the relative changes, and of the largest loss
    solved = linprog(aim, rows, limits, balance, np.zeros(1), edges, method="highs")
    if not solved.success:
        raise DataError(f"No weights were found: {solved.message}")
    changed: np.ndarray = weights * (1 + solved.x[:count])
    return changed


def shared_weights(
    losses: np.ndarray,
    derivative: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    bound: float,
    sharers: Sequence[np.ndarray],
) -> np.ndarray:
    """Return the `bounded_weights` for which the examples of each set of rows change by one factor, float64 [N].

    The derivative by the factor of a set is the sum of its examples' derivatives times their weights. It has far less
    noise than each of these.

    Raises:
        ConfigError: The bound is out of range.
        DataError: Shapes don't fit, or an example is in no set or in several.

    Example:
        >>> one, pairs = np.array([1.0]), [np.array([0, 1]), np.array([2, 3])]
        >>> shared_weights(one, np.array([[-9.0, 1.0, -1.0, 0.0]]), one, np.ones(4), 1.0, pairs).tolist()
        [2.0, 2.0, 0.0, 0.0]
    """
    if sorted(np.concatenate(sharers).tolist()) != list(range(len(weights))):
        raise DataError("Every training example shares its weight in exactly one set: give it one unit, or one class.")
    totals = np.array([weights[rows].sum() for rows in sharers])
    slopes = np.stack([derivative[:, rows] @ weights[rows] for rows in sharers], 1) / totals
    factors = bounded_weights(losses, slopes, shares, totals, bound) / totals
    changed = weights.copy()
    for rows, factor in zip(sharers, factors, strict=True):
        changed[rows] *= factor
    return changed
