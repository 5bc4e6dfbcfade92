"""The width of each layer: how many features it gets.

The squared error of a projected inner product is a sum over layers, Σ_l c_l² / w_l, with w_l features for layer l and
c_l of the order of the layer's squared gradient norm; at a given Σ w_l it is least for w_l ∝ c_l. So widths follow the
shares of the layers in the squared norm. These are measured on a few examples with features of equal widths, since
‖features‖² estimates ‖gradient‖² without bias. No layer gets more features than it has parameters: it is then kept
whole, without error, and the other layers get the remaining features. Shares matter: in a small UNet the last
convolution has 1 of 3,000 parameters and more than half of the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from whence.errors import NotFiniteError
from whence.gradients.maps import Maps

#: No layer gets more than this part of all features, or four times the mean if that is more.
LARGEST = 1 / 16


def layer_shares(trial: Maps, features: Sequence[Tensor]) -> dict[str, float]:
    """Return the mean share of every layer in the squared norm of the gradient, over examples and readouts.

    Args:
        trial: Maps with equal widths.
        features: Features made with these maps, averaged over draws, one [n, p] for each readout.

    Returns:
        Shares by layer; they add up to 1.

    Raises:
        NotFiniteError: The features of a layer are not finite.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from whence.gradients.compression import Compression, maps
        >>> from whence.gradients.coverage import coverage
        >>> network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> layer_shares(maps(coverage(network), Compression(kind="none")), [torch.tensor([[3.0, 1.0]])])
        {'0': 0.9, '1': 0.1}
    """
    shares = dict.fromkeys(trial.by_layer, 0.0)
    for values in features:
        norms = {name: float(values[:, place].double().square().sum()) for name, (_, place) in trial.by_layer.items()}
        total = sum(norms.values())
        if not 0 < total < float("inf"):
            raise NotFiniteError(
                f"The widths are measured on gradients with the squared norm {total}. It is not finite in the layers "
                f"{[name for name, norm in norms.items() if not norm < float('inf')]}."
            )
        for name, norm in norms.items():
            shares[name] += norm / total / len(features)
    return shares


def widths(sizes: Sequence[int], shares: Sequence[float], total: int, free: Sequence[bool] | None = None) -> list[int]:
    """Return w_l = min(p_l, most, c s_l), at least 1, of every layer, with c such that they add up to the total.

    A layer's cost grows with its width, so none gets more than a sixteenth of the total, or four times the mean width.

    Args:
        sizes: Number of parameters of each layer, p_l.
        shares: What the widths are proportional to, s_l ≥ 0.
        total: Features in all.
        free: Whether a layer's cost doesn't grow with its width, so that it may get more; by default none.

    Returns:
        Features of each layer; at most `total` in all, but for the layers that are raised to 1.

    Example:
        >>> widths([145, 5_000, 10_000], [0.5, 0.3, 0.2], 400)
        [145, 153, 102]
        >>> widths([4, 5], [1, 1], 100)
        [4, 5]
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

    Example:
        >>> sides(64, 577, 144), sides(64, 577, 306), sides(1, 145, 100), sides(16, 10, 144)
        ((18, 8), (19, 16), (1, 96), (14, 10))
    """
    k_o = max(1, min(outputs, round(width**0.5)))
    k_i = max(1, min(inputs, width // k_o))
    if 8 < k_i < inputs:
        k_i = max(8, k_i - k_i % 16)
    return max(1, min(outputs, width // k_i)), k_i
