"""How many features each layer gets.

The squared error of a projected inner product is a sum over layers, Σ_l c_l² / w_l, with w_l features for layer l and
c_l of the order of the layer's squared gradient norm. At a given Σ w_l it is least for w_l ∝ c_l. If nothing is known
of the gradients but that no parameter is special, c_l ∝ number of parameters p_l; the square root of that is taken as
the middle way between this and equal widths, which suits layers whose gradients are of one size however many
parameters they have. No layer gets more features than it has parameters: it is then kept whole and what it leaves goes
to the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Power of a layer's number of parameters that its width is proportional to.
POWER = 0.5


def widths(sizes: Sequence[int], total: int, power: float = POWER) -> list[int]:
    """Return w_l = min(p_l, c p_lᵃ), at least 1, of every layer, with c such that they add up to the total.

    Args:
        sizes: Number of parameters of each layer, p_l.
        total: Features in all.
        power: The power a; 0 for equal widths.

    Returns:
        Features of each layer; at most `total` in all, or the number of layers if that is more.

    Example:
        >>> widths([4, 100, 10_000], 60)
        [1, 5, 53]
        >>> widths([4, 5], 100)
        [4, 5]
    """
    p = np.asarray(sizes, np.float64)
    whole = np.zeros(len(p), bool)
    while True:
        share = np.where(whole, 0.0, p**power)
        left = total - p[whole].sum()
        ideal = np.where(whole, p, left * share / max(share.sum(), 1e-300))
        fits = ~whole & (ideal >= p)
        if not fits.any():
            return [max(1, int(value)) for value in ideal]
        whole |= fits


def sides(outputs: int, inputs: int, width: int) -> tuple[int, int]:
    """Return (k_o, k_i) with k_o k_i ≤ width, as near to a square as O and I allow.

    Example:
        >>> sides(64, 577, 144), sides(1, 145, 100), sides(16, 10, 144)
        ((12, 12), (1, 100), (14, 10))
    """
    k_o = max(1, min(outputs, round(width**0.5)))
    k_i = max(1, min(inputs, width // k_o))
    return max(1, min(outputs, width // k_i)), k_i
