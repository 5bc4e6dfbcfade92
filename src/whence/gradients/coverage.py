"""Which parameters of a network are differentiated: all, or an error that names those that can't be.

A layer takes part if its class is one whose mathematics is known (`layers.py`, `norms.py`) with its own forward pass. A
parameter that belongs to any other module, or to two layers at once, is refused, since leaving it out would silently
change every score. Whether a layer's parameters are also used in other ways than by calling it, only a comparison with
autograd can tell: `check.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from whence.errors import ModelError
from whence.gradients.layers import ConvolutionLayer, EmbeddingLayer, LinearLayer, ProductLayer
from whence.gradients.norms import GroupNormLayer, LayerNormLayer, NormLayer, RMSNormLayer

Layer = ProductLayer | NormLayer

_KINDS: tuple[tuple[type[nn.Module], Callable[[str, Any], Layer]], ...] = (
    (nn.Linear, LinearLayer),
    (nn.Conv2d, ConvolutionLayer),
    (nn.Embedding, EmbeddingLayer),
    (nn.GroupNorm, GroupNormLayer),
    (nn.LayerNorm, LayerNormLayer),
    (nn.RMSNorm, RMSNormLayer),
)


@dataclass(frozen=True)
class Coverage:
    """The layers of a network that have parameters.

    Attributes:
        layers: What is known of each, by name, in the network's order.
        modules: The layers themselves, by name.
        left_out: Names of layers with parameters that were left out on request.
    """

    layers: dict[str, Layer]
    modules: dict[str, nn.Module]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number p of parameters that are differentiated."""
        return sum(layer.size for layer in self.layers.values())

    def report(self) -> list[tuple[str, str, int]]:
        """(name, class, number of parameters) of every layer."""
        return [(name, type(self.modules[name]).__name__, layer.size) for name, layer in self.layers.items()]


def coverage(network: nn.Module, only: Callable[[str], bool] | None = None) -> Coverage:
    """Find the layers of a network that have parameters, all of which must be differentiable example by example.

    Args:
        network: Any denoiser.
        only: Whether the layer of that name takes part; default all of them.

    Returns:
        Its layers.

    Raises:
        ModelError: A parameter belongs to a module whose gradient isn't known here, or to two layers; or there is none.

    Example:
        >>> coverage(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.LayerNorm(3))).report()
        [('0', 'Linear', 9), ('2', 'LayerNorm', 6)]
    """
    found = {name: module for name, module in network.named_modules() if list(module.parameters(recurse=False))}
    modules = {name: module for name, module in found.items() if only is None or only(name)}
    if not modules:
        raise ModelError(
            f"There is no parameter to differentiate in {type(network).__name__} ({len(found)} layers have any)."
        )
    unknown = [name for name, module in modules.items() if _kind(module) is None]
    if unknown:
        shown = ", ".join(f"{name or '(the network itself)'} ({type(modules[name]).__name__})" for name in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        known = ", ".join(kind.__name__ for kind, _ in _KINDS)
        raise ModelError(
            f"The gradient of the parameters of {shown}{more} isn't known layer by layer. Known are {known}. "
            "Express the layer with these, or add it in whence/gradients/layers.py."
        )
    _require_untied(modules)
    left_out = tuple(name for name in found if name not in modules)
    return Coverage({name: _known(name, module) for name, module in modules.items()}, modules, left_out)


def _kind(module: nn.Module) -> Callable[[str, Any], Layer] | None:
    """How the layer is described, if its forward pass is that of its known class."""
    own = "forward" in vars(module) or {key for key, _ in module.named_parameters(recurse=False)} - {"weight", "bias"}
    for known, make in _KINDS:
        if not own and isinstance(module, known) and type(module).forward is known.forward:
            return make
    return None


def _known(name: str, module: nn.Module) -> Layer:
    make = _kind(module)
    assert make is not None
    return make(name, module)


def _require_untied(modules: dict[str, nn.Module]) -> None:
    """Refuse a parameter of two layers.

    Raises:
        ModelError: There is one.
    """
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
