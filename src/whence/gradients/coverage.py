"""Coverage: the layers whose parameters are differentiated.

The mathematics of some classes of layers is known (`layers.py`, `norm_layers.py`). A layer must have the forward pass
of its class. A parameter of any other module, or of two layers at once, is refused, since leaving it out would silently
change every score. Only a comparison with autograd can tell whether the parameters are also used in other ways than by
calling their layer: `check.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from whence.diffusion.checkpoint import parameter_pattern
from whence.errors import ModelError
from whence.gradients.layers import ConvolutionLayer, EmbeddingLayer, LinearLayer, ProductLayer
from whence.gradients.norm_layers import GroupNormLayer, LayerNormLayer, NormLayer, RMSNormLayer

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
    """Return the layers that are differentiated, after a check that their gradients are known example by example.

    Args:
        network: Any denoiser.
        parameters: A regular expression that a layer's name must contain; default all layers.

    Raises:
        ModelError: A parameter belongs to a module whose gradient isn't known here, or to two layers; or there is no
            parameter.
        ConfigError: `parameters` is no regular expression.

    Example:
        >>> coverage(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.LayerNorm(3))).report()
        [('0', 'Linear', 9), ('2', 'LayerNorm', 6)]
        >>> coverage(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.LayerNorm(3)), parameters="^0").left_out
        ('2',)
    """
    pattern = parameter_pattern(parameters)
    every = {name: module for name, module in network.named_modules() if list(module.parameters(recurse=False))}
    modules = {name: module for name, module in every.items() if pattern.search(name)}
    if not modules:
        raise ModelError(
            f"There is no parameter to differentiate in {type(network).__name__} ({len(every)} layers have any)."
        )
    kinds = {name: _kind(module) for name, module in modules.items()}
    unknown = [name for name, kind in kinds.items() if kind is None]
    if unknown:
        shown = ", ".join(f"{name or '(the network itself)'} ({type(modules[name]).__name__})" for name in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        known = ", ".join(kind.__name__ for kind, _ in _KINDS)
        raise ModelError(
            f"The gradient of the parameters of {shown}{more} isn't known layer by layer. Known are {known}. "
            "Express the layer with these, or add it in whence/gradients/layers.py."
        )
    _require_untied(modules)
    layers = {name: kind(name, modules[name]) for name, kind in kinds.items() if kind}
    return Coverage(layers, modules, tuple(name for name in every if name not in modules))


def _kind(module: nn.Module) -> Callable[[str, Any], Layer] | None:
    """Return what describes the layer, if its forward pass is that of its known class."""
    own = "forward" in vars(module) or {key for key, _ in module.named_parameters(recurse=False)} - {"weight", "bias"}
    for known, make in _KINDS:
        if not own and isinstance(module, known) and type(module).forward is known.forward:
            return make
    return None


def _require_untied(modules: dict[str, nn.Module]) -> None:
    """Check that no parameter belongs to two layers.

    Raises:
        ModelError: One does.
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
