"""Layers whose gradient is one number per channel: group, layer and root-mean-square normalisation.

With x̂ the normalised input and y = γ x̂ + β, for one example and the cotangent δ of y,

    ∂f/∂γ_c = Σ_s δ_cs x̂_cs,      ∂f/∂β_c = Σ_s δ_cs

These are so few that they are formed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormLayer(ABC):
    """A normalisation with a scale γ and perhaps a shift β for each channel.

    Attributes:
        name: The layer's name in the network.
        channels: Number of γ's.
        size: Number of parameters, γ and β.
        bias: Whether there is a β.
    """

    def __init__(self, name: str, channels: int, bias: bool) -> None:
        self.name, self.channels, self.bias = name, channels, bias
        self.size = channels * (1 + int(bias))

    @abstractmethod
    def normalised(self, x: Tensor) -> Tensor:
        """x̂, in the shape of x."""

    def explicit(self, normalised: Tensor, cotangent: Tensor) -> Tensor:
        """The gradient of every row, γ first.

        Args:
            normalised: x̂, [n, ...].
            cotangent: ∂f/∂y, [n, ...].

        Returns:
            [n, size].
        """
        inputs, outputs = (side.reshape(len(side), -1, self.channels) for side in (normalised, cotangent))
        scale = (inputs * outputs).sum(1)
        return torch.cat([scale, outputs.sum(1)], 1) if self.bias else scale

    def by_parameter(self, gradient: Tensor) -> dict[str, Tensor]:
        """A gradient [..., size] split into those of ``weight`` and ``bias``."""
        parts = torch.split(gradient, self.channels, -1)
        return dict(zip(("weight", "bias"), parts, strict=False))


class GroupNormLayer(NormLayer):
    """Group normalisation of [n, C, ...]."""

    def __init__(self, name: str, layer: nn.GroupNorm) -> None:
        super().__init__(name, layer.num_channels, layer.bias is not None)
        self._groups, self._epsilon = layer.num_groups, layer.eps

    def normalised(self, x: Tensor) -> Tensor:
        """The input normalised, without γ and β."""
        return F.group_norm(x, self._groups, eps=self._epsilon)

    def explicit(self, normalised: Tensor, cotangent: Tensor) -> Tensor:
        """The gradient of every row, γ first, [n, size].

        PyTorch's backward pass of the normalisation takes both sums at once; with rows x channels as its channels, each
        a group of mean 0 and deviation 1, they are those of every row.

        Args:
            normalised: x̂, [n, C, ...].
            cotangent: ∂f/∂y, [n, C, ...].

        Returns:
            [n, size].
        """
        n = len(cotangent) * self.channels
        inputs, outputs = (side.reshape(1, n, -1).contiguous() for side in (normalised, cotangent))
        zeros, ones = inputs.new_zeros(1, n), inputs.new_ones(1, n)
        how = (1, n, inputs.shape[2], n, [False, True, self.bias])
        _, scale, shift = torch.ops.aten.native_group_norm_backward(outputs, inputs, zeros, ones, ones[0], *how)
        sums = [scale, shift] if self.bias else [scale]
        return torch.cat([part.reshape(-1, self.channels) for part in sums], 1)


class LayerNormLayer(NormLayer):
    """Layer normalisation over the last dimensions."""

    def __init__(self, name: str, layer: nn.LayerNorm | nn.RMSNorm) -> None:
        super().__init__(name, layer.weight.numel(), getattr(layer, "bias", None) is not None)
        self._shape, self._epsilon = list(layer.normalized_shape), layer.eps

    def normalised(self, x: Tensor) -> Tensor:
        """The input normalised, without γ and β."""
        return F.layer_norm(x, self._shape, eps=self._epsilon or 0.0)

    def by_parameter(self, gradient: Tensor) -> dict[str, Tensor]:
        """A gradient [..., size] split, in the parameters' own shapes."""
        parts = super().by_parameter(gradient)
        return {key: part.reshape(*part.shape[:-1], *self._shape) for key, part in parts.items()}


class RMSNormLayer(LayerNormLayer):
    """Root-mean-square normalisation over the last dimensions, which has no shift."""

    def normalised(self, x: Tensor) -> Tensor:
        """The input divided by its root mean square."""
        return F.rms_norm(x, self._shape, eps=self._epsilon)
