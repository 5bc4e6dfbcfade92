"""Kronecker factors of the Gauss-Newton matrix of the loss, layer by layer, from sampled targets.

    G = E_{x,t,ε} Jᵀ H J,      H = 2/D · 1

J [D, P] is the Jacobian of the output o by the weights, H the Hessian of the loss ‖o - y‖²/D by the output. The loss is
the negative log-likelihood of y ~ N(o, D/2 · 1), up to a constant. With a target drawn from it instead of the true one,
∂loss/∂o = √(2/D) ξ with ξ ~ N(0, 1), so pseudo-gradients g = √(2/D) Jᵀξ have E[g gᵀ] = G exactly. Squares of the true
gradients would give the empirical Fisher matrix instead, which is large where the network is wrong.

For a layer whose gradient is Σ_s δ_s a_sᵀ the block of G is modelled as S ⊗ A, with s over the positions of an example
(tokens, pixels, groups of a convolution, calls of the layer), the bias as an input that is always 1:

    A = E_s a_s a_sᵀ      [I, I], mean over examples, draws and positions
    S = E Σ_s δ_s δ_sᵀ    [O, O], mean over examples and draws, sum over positions

So products at different positions count as uncorrelated ("expand"). That is exact for a linear layer with one position
whose a and δ are independent. The block of a normalisation is small and kept whole: A = E g gᵀ, S = 1.

Source: Martens & Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate curvature" (arXiv
1503.05671); Eschenhagen et al. 2023 (arXiv 2311.00636) for several positions; Mlodozeniec et al. 2025 (arXiv
2410.13850) for diffusion models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.philox import keys, normals
from whence.gradients.layers import Coverage, Layer, NormLayer
from whence.gradients.maps import Maps, NormMap, ProductMap


class FactorMap:
    """Keeps no features of a row: it adds to the sums of a layer's factors.

    Attributes:
        inputs: Σ a aᵀ over rows and positions, float64 [I, I].
        outputs: Σ δ δᵀ over rows and positions, float64 [O, O].
        positions: Number of terms of `inputs`.
    """

    width = 0

    def __init__(self, layer: Layer, device: torch.device) -> None:
        self._layer = layer
        outputs, inputs = sides_of(layer)
        self.inputs = torch.zeros(inputs, inputs, dtype=torch.float64, device=device)
        self.outputs = torch.zeros(outputs, outputs, dtype=torch.float64, device=device)
        self.positions = 0

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Any:
        """Add the input side of the rows; return what is kept of it."""
        if isinstance(self._layer, NormLayer):
            return self._layer.prepare(x, output)
        self._add_inputs(self._layer.whole_input_side(x))
        return x.new_empty(0)

    def features(self, prepared: Any, cotangent: Tensor) -> Tensor:
        """Add the output side of the rows; return their features, of which there are none, [n, 0]."""
        if isinstance(self._layer, NormLayer):
            self._add_inputs(self._layer.explicit(prepared, cotangent))
            self.outputs += len(cotangent)
        else:
            sides = self._layer.output_side(cotangent, None).flatten(0, 1)
            self.outputs += (sides.T @ sides).double()
        return cotangent.new_empty(len(cotangent), 0)

    def _add_inputs(self, sides: Tensor) -> None:
        rows = sides.flatten(0, -2)
        self.inputs += (rows.T @ rows).double()
        self.positions += len(rows)


def sides_of(layer: Layer) -> tuple[int, int]:
    """Return the sizes (O, I) of the factors S and A of a layer."""
    return (1, layer.size) if isinstance(layer, NormLayer) else (layer.outputs, layer.inputs)


def factor_maps(cover: Coverage, device: torch.device) -> Maps:
    """Return maps that sum up the factors of every layer."""
    return Maps({name: (FactorMap(layer, device), slice(0, 0)) for name, layer in cover.layers.items()}, 0)


def pseudo_cotangent(seed: int, ids: Sequence[str], index: np.ndarray, weight: Tensor, output: Tensor) -> Tensor:
    """Return √(2 w/D) ξ in the shape of the output [n, C, H, W], with the weights w [n] of the loss.

    ξ is standard normal, a pure function of (seed, example id, draw index).

    Example:
        >>> v = pseudo_cotangent(0, ["a"], np.zeros(1), torch.ones(1), torch.zeros(1, 1, 100, 100))
        >>> round(float(v.square().sum()), 1)  # E‖v‖² = 2
        2.0
    """
    noise: Tensor = normals(keys("target", seed, ids), index, output.shape[1:], output.device).to(output)
    scale = weight.sqrt().to(output).reshape(-1, *[1] * (output.dim() - 1))
    return noise * (math.sqrt(2 / output[0].numel()) * scale)


def eigenbases(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return eigenvectors of A [I, I] and S [O, O], in columns, and the eigenvalues of S ⊗ A [O, I]; all float64.

    Example:
        >>> eigenbases(torch.eye(1) * 2, torch.eye(1) * 3)[2]
        tensor([[6.]], dtype=torch.float64)
    """
    (a, u), (s, v) = (torch.linalg.eigh(factor.double()) for factor in (inputs, outputs))
    return u, v, s.clamp_min(0)[:, None] * a.clamp_min(0)


def eigenbasis_maps(cover: Coverage, bases: Mapping[str, Tensor], device: torch.device) -> Maps:
    """Return maps to whole gradients in the eigenbases of the factors: Vᵀ ∇W U, flattened, [P].

    Args:
        cover: The layers.
        bases: "LAYER inputs", U [I, I], and "LAYER outputs", V [O, O], of every layer.
        device: Where the maps are used.
    """
    by_layer, end = {}, 0
    for name, layer in cover.layers.items():
        inputs, outputs = (bases[f"{name} {side}"].to(device) for side in ("inputs", "outputs"))
        if isinstance(layer, NormLayer):
            layer_map: NormMap | ProductMap = NormMap(layer, inputs)
        else:
            layer_map = ProductMap(layer, outputs, inputs.expand(layer.groups, -1, -1))
        by_layer[name] = layer_map, slice(end, end + layer.size)
        end += layer.size
    return Maps(dict(by_layer), end)
