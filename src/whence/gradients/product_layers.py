"""Layers whose weight gradient is a sum over positions of (output side) x (input side).

For a linear layer, a convolution and an embedding the gradient of f with respect to the weight, for one example, is

    ∇W_oi = Σ_s δ_os a_is        [O, I]

with δ the cotangent ∂f/∂(layer output) and a the layer's input at the position s: the feature vector of a token, the
patch under the kernel, the one-hot vector of an index. The bias is one more input that is always 1, so its gradient
is the last column. With P_o [O, k_o] and P_i [I, k_i] on the two sides,

    P_oᵀ ∇W P_i = Σ_s (P_oᵀ δ_s) (P_iᵀ a_s)ᵀ        [k_o, k_i]

so ∇W is never formed: the input side is projected before the product, and the output side before the product or, by
folding (`maps.FoldedMap`), after it. For a convolution P_iᵀ a is itself a convolution of the layer's input, with the
columns of P_i as kernels. Many channels are mixed into a few first, P_i = (P_c ⊗ 1) Q with P_c [C, m], which costs less
and is unbiased too. For a convolution in groups the sum is over positions and groups, each with its own P_o and P_i.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whence.errors import ModelError


class ProductLayer(ABC):
    """A layer whose weight gradient is Σ_s δ_os a_is, with O outputs and I inputs of a group, the bias included."""

    def __init__(self, name: str, outputs: int, inputs: int, groups: int, bias: bool) -> None:
        self.name, self.outputs, self.groups, self.bias = name, outputs, groups, bias
        self.inputs = inputs + int(bias)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.outputs * self.inputs

    @abstractmethod
    def input_side(self, x: Tensor, project: Tensor) -> Tensor:
        """P_iᵀ a_s of every row and position, [n, S, k_i], from the layer's input and P_i [groups, I, k_i]."""

    def whole_input_side(self, x: Tensor) -> Tensor:
        """a_s of every row and position, [n, S, I], with the 1 of the bias in its last column."""
        return self.input_side(x, torch.eye(self.inputs, device=x.device).expand(self.groups, -1, -1))

    def output_side(self, cotangent: Tensor, project: Tensor | None) -> Tensor:
        """P_oᵀ δ_s of every row and position, [n, S, k_o], from δ [n, ..., O] and P_o [O, k_o] or None for 1."""
        tokens = cotangent.reshape(len(cotangent), -1, self.outputs)
        return tokens if project is None else tokens @ project

    def by_parameter(self, gradient: Tensor) -> dict[str, Tensor]:
        """A gradient [..., O, I] split into those of ``weight`` and ``bias``, in the parameters' own shapes."""
        if not self.bias:
            return {"weight": self._weight(gradient)}
        return {"weight": self._weight(gradient[..., :-1]), "bias": gradient[..., -1]}

    def _weight(self, gradient: Tensor) -> Tensor:
        return gradient


class LinearLayer(ProductLayer):
    """y_s = W a_s + b on [n, ..., I]."""

    def __init__(self, name: str, layer: nn.Linear) -> None:
        super().__init__(name, layer.out_features, layer.in_features, 1, layer.bias is not None)

    def input_side(self, x: Tensor, project: Tensor) -> Tensor:
        """P_iᵀ a_s, the last row of P_i for the bias."""
        tokens, matrix = x.reshape(len(x), -1, x.shape[-1]), project[0]
        return tokens @ matrix[:-1] + matrix[-1] if self.bias else tokens @ matrix


class ConvolutionLayer(ProductLayer):
    """A two-dimensional convolution [n, C, H, W] -> [n, O, H', W'] with stride, zero padding, dilation and groups."""

    def __init__(self, name: str, layer: nn.Conv2d) -> None:
        if layer.padding_mode != "zeros":
            raise ModelError(
                f"The layer {name!r} pads with {layer.padding_mode!r}. Gradients are taken of convolutions that pad "
                "with zeros; pad in a layer of its own before it."
            )
        self._kernel = tuple(layer.weight.shape[1:])
        self._how: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        inputs = layer.weight[0].numel()
        super().__init__(name, layer.out_channels, inputs, layer.groups, layer.bias is not None)

    def input_side(self, x: Tensor, project: Tensor) -> Tensor:
        """P_iᵀ a_s as a convolution whose kernels are the columns of P_i."""
        if self._is_pointwise:
            shift = project[0, -1, :, None] if self.bias else project.new_zeros(())
            matrix = project[0, : self.channels].T
            return torch.baddbmm(shift, matrix.expand(len(x), -1, -1), x.flatten(2)).transpose(1, 2)
        kernels = project.transpose(1, 2)
        bias = kernels[..., -1].reshape(-1) if self.bias else None
        if self.bias:
            kernels = kernels[..., :-1]
        kernels = kernels.reshape(-1, x.shape[1] // self.groups, *self._kernel[1:])
        small = F.conv2d(x, kernels, bias, groups=self.groups, **self._how)
        small = small.reshape(len(x), self.groups, project.shape[-1], -1)
        return small[:, 0].transpose(1, 2) if self.groups == 1 else small.transpose(2, 3).flatten(1, 2)

    def whole_input_side(self, x: Tensor) -> Tensor:
        """The patches under the kernel, group by group."""
        how = {name: value for name, value in self._how.items() if name != "padding"}
        if isinstance(padding := self._how["padding"], str):
            return super().whole_input_side(x)
        patches = F.unfold(x, self._kernel[1:], padding=padding, **how)
        patches = patches.reshape(len(x), self.groups, -1, patches.shape[2])
        sides = patches.transpose(2, 3).flatten(1, 2)
        return F.pad(sides, (0, 1), value=1.0) if self.bias else sides

    def output_side(self, cotangent: Tensor, project: Tensor | None) -> Tensor:
        """P_oᵀ δ_s, group by group."""
        maps = cotangent.flatten(2)
        if self.groups == 1:
            return (maps if project is None else mix(maps, project)).transpose(1, 2)
        parts = maps.reshape(len(maps), self.groups, -1, maps.shape[-1])
        matrix = torch.eye(self.outputs, dtype=maps.dtype, device=maps.device) if project is None else project
        return torch.einsum("ngos,gok->ngsk", parts, matrix.reshape(self.groups, -1, matrix.shape[-1])).flatten(1, 2)

    def squeezed(self, x: Tensor, project: Tensor) -> Tensor:
        """The input's channels mixed into fewer, [n, m, H, W], with P_c [C, m]."""
        if project.shape[1] % 16 == 0:  # as many as a convolution computes at once, which is faster then
            return F.conv2d(x, project.T[:, :, None, None])
        return mix(x.flatten(2), project).reshape(len(x), -1, *x.shape[2:])

    @property
    def has_cotangent_patches(self) -> bool:
        """Whether `cotangent_patches` is defined: stride 1, no groups, padding within the kernel."""
        padding = self._how["padding"]
        return (
            not isinstance(padding, str)
            and self.groups == 1
            and set(self._how["stride"]) == {1}
            and all(p <= reach for p, reach in zip(padding, self._reach, strict=True))
        )

    def cotangent_patches(self, cotangent: Tensor) -> Tensor:
        """δ_o,u-τ at every input position u and tap τ, [n, O·taps, H·W]."""
        if self.taps == 1 and not any(self._how["padding"]):
            return cotangent.flatten(2)
        padding = tuple(reach - p for reach, p in zip(self._reach, self._how["padding"], strict=True))
        patches = F.unfold(cotangent, self._kernel[1:], self._how["dilation"], padding)
        return patches.reshape(len(patches), self.outputs, self.taps, -1).flip(2).flatten(1, 2)

    @property
    def _reach(self) -> tuple[int, ...]:
        """How far the kernel reaches beyond its first tap, by dimension."""
        return tuple(d * (k - 1) for d, k in zip(self._how["dilation"], self._kernel[1:], strict=True))

    @property
    def _is_pointwise(self) -> bool:
        """Whether the input side is a product of the channels at each position, which is faster than a convolution."""
        how = self._how
        return self.groups == self.taps == 1 and set(how["stride"]) == {1} and not any(how["padding"])

    @property
    def channels(self) -> int:
        """Input channels of a group."""
        return self._kernel[0]

    @property
    def taps(self) -> int:
        """Positions under the kernel."""
        return math.prod(self._kernel[1:])

    def _weight(self, gradient: Tensor) -> Tensor:
        return gradient.reshape(*gradient.shape[:-1], *self._kernel)


class EmbeddingLayer(ProductLayer):
    """y_s = W[:, index_s]: the input side is one-hot, so P_iᵀ a_s is a row of P_i."""

    def __init__(self, name: str, layer: nn.Embedding) -> None:
        if layer.max_norm is not None or layer.scale_grad_by_freq:
            raise ModelError(
                f"The embedding {name!r} rescales its weights or gradients by what else is in the batch (max_norm or "
                "scale_grad_by_freq), so it has no gradient of one example. Turn that off."
            )
        self._padding = layer.padding_idx
        super().__init__(name, layer.embedding_dim, layer.num_embeddings, 1, False)

    def input_side(self, x: Tensor, project: Tensor) -> Tensor:
        """The rows of P_i at the indices; none for the padding."""
        index = x.reshape(len(x), -1)
        rows = project[0][index]
        return rows if self._padding is None else rows * (index != self._padding)[..., None]

    def _weight(self, gradient: Tensor) -> Tensor:
        return gradient.transpose(-1, -2)


def mix(maps: Tensor, project: Tensor) -> Tensor:
    """Pᵀ maps of every row, [n, k, S], for maps [n, C, S] and P [C, k]."""
    return torch.bmm(project.T.expand(len(maps), -1, -1), maps)


def explicit(layer: ProductLayer, x: Tensor, cotangent: Tensor) -> Tensor:
    """The weight gradient ∇W [n, O, I] of every row, with the bias in its last column: the slow reference."""
    identity = torch.eye(layer.inputs, dtype=cotangent.dtype, device=cotangent.device)
    inputs = layer.input_side(x, identity.expand(layer.groups, -1, -1))
    return torch.bmm(layer.output_side(cotangent, None).transpose(1, 2), inputs)
