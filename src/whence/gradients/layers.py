"""The layers of a network whose parameters are differentiated: normalisations, tables, and `product_layers`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.normalization import RMSNorm
from torch import Tensor, nn

from whence.diffusion.checkpoint import parameter_pattern
from whence.errors import ModelError
from whence.gradients.kept_input import KeptInput
from whence.gradients.product_layers import ConvolutionLayer, EmbeddingLayer, LinearLayer, ProductLayer


class NormLayer(ABC):
    """A normalisation y = γ x̂ + β with a scale γ and perhaps a shift β (`bias`) for each channel.

    With x̂ the normalised input, for one example and the cotangent δ of y, the gradient is one number per channel:

        ∂f/∂γ_c = Σ_s δ_cs x̂_cs,      ∂f/∂β_c = Σ_s δ_cs
    """

    def __init__(self, name: str, channels: int, bias: bool) -> None:
        self.name, self.channels, self.bias = name, channels, bias
        self.size = channels * (1 + int(bias))

    @abstractmethod
    def prepare(self, x: Tensor, output: Tensor | None = None) -> Any:
        """What the gradient needs of the input, from it and, if there, the layer's output: x̂, in the shape of x."""

    def explicit(self, prepared: Any, cotangent: Tensor) -> Tensor:
        """The gradient of every row, γ first, [n, size]."""
        inputs, outputs = (side.reshape(len(side), -1, self.channels) for side in (prepared, cotangent))
        scale = (inputs * outputs).sum(1)
        return torch.cat([scale, outputs.sum(1)], 1) if self.bias else scale

    def by_parameter(self, gradient: Tensor) -> dict[str, Tensor]:
        """A gradient [..., size] split into those of ``weight`` and ``bias``."""
        parts = torch.split(gradient, self.channels, -1)
        return dict(zip(("weight", "bias"), parts, strict=False))


class GroupNormLayer(NormLayer):
    """Group normalisation of [n, C, ...]: x̂ = (x - μ) / σ, with μ and σ of a row's group of channels.

    The input is kept with its μ and 1/σ, so x̂ is never formed: ∂f/∂γ_c = (Σ_s δ_cs x_cs - μ Σ_s δ_cs) / σ.
    """

    def __init__(self, name: str, layer: nn.GroupNorm) -> None:
        super().__init__(name, layer.num_channels, layer.bias is not None)
        self._groups, self._epsilon = layer.num_groups, layer.eps

    def prepare(self, x: Tensor, output: Tensor | None = None) -> tuple[KeptInput, Tensor, Tensor]:
        """The input, and μ and 1/σ, each [n, groups], which autograd has of the output."""
        node = None if output is None else output.grad_fn
        if node is not None and node.name() == "NativeGroupNormBackward0":
            mean, scale = node._saved_result1.detach(), node._saved_result2.detach()  # type: ignore[attr-defined]
        else:
            shape = (len(x), self.channels, x[0, 0].numel(), self._groups)
            _, mean, scale = torch.native_group_norm(x.contiguous(), None, None, *shape, self._epsilon)
        return KeptInput.of(self.name, x), mean, scale

    def explicit(self, prepared: tuple[KeptInput, Tensor, Tensor], cotangent: Tensor) -> Tensor:
        """The gradient of every row, γ first, [n, size]."""
        # PyTorch's backward pass of the normalisation takes both sums at once; with rows x channels as its channels,
        # each a group of its own, they are those of every row.
        n, each = len(cotangent) * self.channels, self.channels // self._groups
        inputs, outputs = (side.reshape(1, n, -1).contiguous() for side in (prepared[0].unchanged(), cotangent))
        mean, scale = (part[..., None].expand(-1, -1, each).reshape(1, n).to(inputs) for part in prepared[1:])
        how = (1, n, inputs.shape[2], n, [False, True, self.bias])
        _, scale, shift = torch.ops.aten.native_group_norm_backward(outputs, inputs, mean, scale, scale[0], *how)
        sums = [scale, shift] if self.bias else [scale]
        return torch.cat([part.reshape(-1, self.channels) for part in sums], 1)


class LayerNormLayer(NormLayer):
    """Layer normalisation over the last dimensions."""

    def __init__(self, name: str, layer: nn.LayerNorm | nn.RMSNorm | RMSNorm) -> None:
        super().__init__(name, layer.weight.numel(), getattr(layer, "bias", None) is not None)
        self._shape, self._epsilon = list(layer.weight.shape), layer.eps

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Tensor:
        """The input normalised, without γ and β."""
        return F.layer_norm(x, self._shape, eps=self._epsilon or 0.0)

    def by_parameter(self, gradient: Tensor) -> dict[str, Tensor]:
        """A gradient [..., size] split, in the parameters' own shapes."""
        parts = super().by_parameter(gradient)
        return {key: part.reshape(*part.shape[:-1], *self._shape) for key, part in parts.items()}


class RMSNormLayer(LayerNormLayer):
    """Root-mean-square normalisation over the last dimensions; that of diffusers may have a shift."""

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Tensor:
        """The input divided by its root mean square."""
        return F.rms_norm(x, self._shape, eps=self._epsilon)


class TableLayer(NormLayer):
    """A table T that is added to every example, y = x + T, as of shifts and scales (Chen et al. 2024, section 2.3).

    For one example and the cotangent δ of y, ∂f/∂T = δ: T is like the shift of a normalisation with a channel for each
    of its numbers.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self._shape = list(getattr(module, TABLE).shape)
        super().__init__(name, math.prod(self._shape), False)

    def prepare(self, x: Tensor, output: Tensor | None = None) -> None:
        """Nothing, since the gradient does not depend on the input."""

    def explicit(self, prepared: None, cotangent: Tensor) -> Tensor:
        """The gradient of every row, [n, size]."""
        return cotangent.flatten(1)

    def by_parameter(self, gradient: Tensor) -> dict[str, Tensor]:
        """A gradient [..., size] in the parameter's own shape."""
        return {TABLE: gradient.reshape(*gradient.shape[:-1], *self._shape)}


#: The name of tables in the transformers of diffusers, which add ``table[None]``.
TABLE = "scale_shift_table"
Layer = ProductLayer | NormLayer

_KINDS: tuple[tuple[type[nn.Module], Callable[[str, Any], Layer]], ...] = (
    (nn.Linear, LinearLayer),
    (nn.Conv2d, ConvolutionLayer),
    (nn.Embedding, EmbeddingLayer),
    (nn.GroupNorm, GroupNormLayer),
    (nn.LayerNorm, LayerNormLayer),
    (nn.RMSNorm, RMSNormLayer),
    (RMSNorm, RMSNormLayer),
)


@dataclass(frozen=True)
class Coverage:
    """The layers of a network that have parameters.

    Attributes:
        layers: Mathematics of each layer by name, in the network's order.
        modules: The modules of the network by name.
        left_out: Names of layers with parameters that are not differentiated.
    """

    layers: dict[str, Layer]
    modules: dict[str, nn.Module]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of parameters that are differentiated."""
        return sum(layer.size for layer in self.layers.values())

    def report(self) -> list[tuple[str, str, int]]:
        """Return (name, class, number of parameters) of every layer."""
        return [(name, type(self.modules[name]).__name__, layer.size) for name, layer in self.layers.items()]


def coverage(network: nn.Module, parameters: str | None = None) -> Coverage:
    """Return the layers that are differentiated, whose names contain the regular expression `parameters`.

    A layer must have the forward pass of a known class. A parameter of any other module, or of two layers at once, is
    refused, since leaving it out would silently change every score.

    Raises:
        ModelError: The gradient of a parameter isn't known example by example; or there is no parameter.

    Example:
        >>> coverage(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.LayerNorm(3))).report()
        [('0', 'Linear', 9), ('2', 'LayerNorm', 6)]
    """
    pattern = parameter_pattern(parameters)
    every = {name: module for name, module in network.named_modules() if list(module.parameters(recurse=False))}
    modules = {name: module for name, module in every.items() if pattern.search(name)}
    if not modules:
        raise ModelError(
            f"There is no parameter to differentiate in {type(network).__name__}: {len(every)} layers have any, and no "
            f"name of them contains {parameters!r}."
            if parameters
            else f"There is no parameter to differentiate in {type(network).__name__}."
        )
    kinds = {name: _kind(module) for name, module in modules.items()}
    unknown = [name for name, kind in kinds.items() if kind is None]
    if unknown:
        shown = ", ".join(f"{name or '(the network itself)'} ({type(modules[name]).__name__})" for name in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        known = ", ".join(dict.fromkeys(kind.__name__ for kind, _ in _KINDS))
        raise ModelError(
            f"The gradient of the parameters of {shown}{more} isn't known layer by layer. Known are {known}. "
            "Express the layer with these, or add it in whence/gradients/layers.py."
        )
    _require_untied(modules)
    layers = {name: kind(name, modules[name]) for name, kind in kinds.items() if kind}
    return Coverage(layers, modules, tuple(name for name in every if name not in modules))


def _kind(module: nn.Module) -> Callable[[str, Any], Layer] | None:
    """What describes the layer, if its forward pass is that of its known class."""
    if {key for key, _ in module.named_parameters(recurse=False)} == {TABLE}:
        return TableLayer
    own = "forward" in vars(module) or {key for key, _ in module.named_parameters(recurse=False)} - {"weight", "bias"}
    for known, make in _KINDS:
        if not own and isinstance(module, known) and type(module).forward is known.forward:
            return make
    return None


def _require_untied(modules: dict[str, nn.Module]) -> None:
    """Check that no parameter belongs to two layers."""
    owner: dict[int, str] = {}
    for name, module in modules.items():
        for key, parameter in module.named_parameters(recurse=False):
            label = f"{name}.{key}"
            if id(parameter) in owner:
                raise ModelError(
                    f"{label} and {owner[id(parameter)]} are one parameter. Its gradient is the sum over both uses, "
                    "which is taken only where one layer is called twice. Call one layer in both places, or untie them."
                )
            owner[id(parameter)] = label
