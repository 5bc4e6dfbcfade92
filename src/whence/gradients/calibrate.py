"""The shares of the layers in the gradient's squared norm, which the widths of the layers follow.

They are estimated from features of equal widths on a few examples, since ‖features‖² estimates ‖gradient‖² without
bias. They become part of what features are made from, as do the examples and draws that they were measured on.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from whence.errors import NotFiniteError
from whence.gradients.maps import Maps


def shares(trial: Maps, features: Sequence[Tensor]) -> dict[str, float]:
    """Return the mean share of every layer in the squared norm of the gradient, over examples and readouts.

    Args:
        trial: Maps with equal widths.
        features: Features made with them, averaged over draws, one [n, p] for each readout.

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
        >>> shares(maps(coverage(network), Compression(kind="none")), [torch.tensor([[3.0, 1.0]])])
        {'0': 0.9, '1': 0.1}
    """
    found = dict.fromkeys(trial.by_layer, 0.0)
    for values in features:
        norms = {name: float(values[:, place].double().square().sum()) for name, (_, place) in trial.by_layer.items()}
        total = sum(norms.values())
        if not 0 < total < float("inf"):
            raise NotFiniteError(
                f"The gradients that widths were to be measured on have the squared norm {total}; the layers where it "
                f"isn't finite are {[name for name, norm in norms.items() if not norm < float('inf')]}."
            )
        for name, norm in norms.items():
            found[name] += norm / total / len(features)
    return found
