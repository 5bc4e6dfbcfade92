"""A comparison of features with autograd, on one batch of the network at hand.

Features are linear in the gradient, so the features of a batch must add up to those of the batch's whole gradient. The
comparison finds what no list of layers can: weights that are used in other ways than by calling their layer, or a
forward pass that gives another result when it is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import denoise
from whence.errors import ModelError
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.coverage import Coverage
from whence.gradients.layers import ProductLayer


def check(
    network: nn.Module,
    cover: Coverage,
    x_t: Tensor,
    t: Tensor,
    cotangent: Callable[[Tensor], Tensor],
    conditions: Mapping[str, Any] | None = None,
    tolerance: float = 1e-3,
) -> None:
    """Compare the gradient that the layers add up to with that of autograd, parameter by parameter.

    Args:
        network: The denoiser.
        cover: Its layers.
        x_t: A few noised images [n, C, H, W].
        t: Timesteps [n].
        cotangent: ∂f/∂output of an output.
        conditions: Further arguments of the network, by name.
        tolerance: Largest difference, relative to the norm of the layer's gradient or to 1e-3 of the norm of all.

    Raises:
        ModelError: The gradient of a layer differs; the message names the layer.

    Example:
        >>> from whence.gradients.coverage import coverage
        >>> class Twice(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(2, 2)
        ...     def forward(self, x, t):
        ...         return self.layer(x) @ self.layer.weight
        >>> network = Twice()
        >>> check(network, coverage(network), torch.ones(3, 2), torch.zeros(3), torch.ones_like)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        whence.errors.ModelError: The gradient of the layer 'layer' is not what autograd says ...
    """
    whole = maps(cover, Compression(kind="none"), device=x_t.device)
    (features,) = Collector(network, cover, whole)(x_t, t, [cotangent], conditions=conditions)
    expected = _autograd(network, cover, x_t, t, cotangent, conditions or {})
    scale = float(torch.cat([part.flatten() for parts in expected.values() for part in parts.values()]).norm())
    for name, (_, place) in whole.by_layer.items():
        layer = cover.layers[name]
        gradient = features[:, place].sum(0)
        shape = (layer.outputs, layer.inputs) if isinstance(layer, ProductLayer) else (layer.size,)
        parts = layer.by_parameter(gradient.reshape(shape))
        error = sum(float((parts[key] - value).square().sum()) for key, value in expected[name].items()) ** 0.5
        norm = sum(float(value.square().sum()) for value in expected[name].values()) ** 0.5
        if not error <= tolerance * max(norm, 1e-3 * scale):
            raise ModelError(
                f"The gradient of the layer {name!r} is not what autograd says (difference {error:.3g}, norm "
                f"{norm:.3g}). Its weights may be used in other ways than by calling it, or its forward pass may "
                "differ from call to call: put the network into eval mode, and call the layer where its weights are "
                "used."
            )


def _autograd(
    network: nn.Module,
    cover: Coverage,
    x_t: Tensor,
    t: Tensor,
    cotangent: Callable[[Tensor], Tensor],
    conditions: Mapping[str, Any],
) -> dict[str, dict[str, Tensor]]:
    """Return the batch's gradient, by layer and parameter."""
    owned = {
        (name, key): parameter
        for name, module in cover.modules.items()
        for key, parameter in module.named_parameters(recurse=False)
    }
    before = [parameter.requires_grad for parameter in owned.values()]
    try:
        for parameter in owned.values():
            parameter.requires_grad_(True)
        with torch.enable_grad():
            output = denoise(network, x_t, t, **conditions)
        gradients = torch.autograd.grad([output], list(owned.values()), [cotangent(output.detach())], allow_unused=True)
    finally:
        for parameter, state in zip(owned.values(), before, strict=True):
            parameter.requires_grad_(state)
    result: dict[str, dict[str, Tensor]] = {name: {} for name in cover.modules}
    for ((name, key), parameter), gradient in zip(owned.items(), gradients, strict=True):
        result[name][key] = torch.zeros_like(parameter) if gradient is None else gradient.detach()
    return result
