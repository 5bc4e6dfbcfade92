"""Widths: how many features each layer gets, by its share in the gradients, and how outputs and inputs split them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from whence.errors import ModelError, NotFiniteError
from whence.gradients.maps import Maps

#: No layer gets more than this part of all features, or four times the mean if that is more.
LARGEST = 1 / 16


def layer_shares(trial: Maps, features: Sequence[Tensor]) -> dict[str, float]:
    """Mean share of each layer in the squared norm, from features [n, p] by maps of equal widths for each readout."""
    shares = dict.fromkeys(trial.by_layer, 0.0)
    for values in features:
        norms = {name: float(values[:, place].double().square().sum()) for name, (_, place) in trial.by_layer.items()}
        total = sum(norms.values())
        if total == 0:
            raise ModelError(
                "All gradients of the network are 0, as of a network whose weights are all 0, so nothing can be "
                "attributed. Look whether its weights were loaded, and train it."
            )
        if not total < float("inf"):
            raise NotFiniteError(
                f"The widths are measured on gradients with the squared norm {total}. It is not finite in the layers "
                f"{[name for name, norm in norms.items() if not norm < float('inf')]}."
            )
        for name, norm in norms.items():
            shares[name] += norm / total / len(features)
    return shares


def widths(sizes: Sequence[int], shares: Sequence[float], total: int, free: Sequence[bool] | None = None) -> list[int]:
    """Return w_l = min(p_l, most, c s_l), at least 1, of every layer, with c such that they add up to the total.

    p_l are the sizes (numbers of parameters), s_l ≥ 0 the shares. The squared error of a projected inner product is
    Σ_l c_l² / w_l, with c_l of the order of the layer's squared gradient norm. At a given Σ w_l it is least for
    w_l ∝ c_l, so widths follow the shares in the squared norm, which `layer_shares` estimates without bias. A layer of
    w_l = p_l is kept whole, without error. A layer's cost grows with its width, except where it is `free`; the others
    get no more than a sixteenth of the total, or four times the mean width.

    Example:
        >>> widths([145, 5_000, 10_000], [0.5, 0.3, 0.2], 400)
        [145, 153, 102]
    """
    p, s = np.asarray(sizes, np.float64), np.asarray(shares, np.float64)
    cap = max(1.0, total * max(LARGEST, 4 / max(len(p), 1)))
    most = np.where(np.asarray(free if free is not None else [False] * len(p), bool), p, np.minimum(p, cap))
    full = np.zeros(len(p), bool)
    while True:
        share = np.where(full, 0.0, s)
        left = total - most[full].sum()
        ideal = np.where(full, most, left * share / max(share.sum(), 1e-300))
        fits = ~full & (ideal >= most)
        if not fits.any():
            return [max(1, int(value + 1e-9)) for value in ideal]
        full |= fits


def sides(outputs: int, inputs: int, width: int) -> tuple[int, int]:
    """Return (k_o, k_i) with k_o k_i ≤ width, as near to a square as O and I allow.

    Above 8 the input side, which costs more, is 8 or a multiple of 16: kernels are computed as many at once.
    """
    k_o = max(1, min(outputs, round(width**0.5)))
    k_i = max(1, min(inputs, width // k_o))
    if 8 < k_i < inputs:
        k_i = max(8, k_i - k_i % 16)
    return max(1, min(outputs, width // k_i)), k_i
