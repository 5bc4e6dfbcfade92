"""Layers with adapters: y = W x + b + Σ_k scale_k B_k (A_k x), with A and B as layers of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from whence.diffusion.adapters.block_names import diffusers_names
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank, plain_name
from whence.errors import ModelError, join_names


class LoraLayer(nn.Module):
    """A linear layer or a convolution with one or more adapters.

    Its parts are ``base_layer`` and, of each adapter K that changes the layer, ``lora_A.K`` and ``lora_B.K``; K is the
    adapter's place among those of the network, from 0. A has the stride and the padding of a convolution, and B is one
    over single pixels.

    Example:
        >>> layer = LoraLayer(nn.Linear(2, 3), {0: LowRank(torch.ones(1, 2), torch.ones(3, 1), scale=0.5)})
        >>> [name for name, _ in layer.named_parameters()]
        ['base_layer.weight', 'base_layer.bias', 'lora_A.0.weight', 'lora_B.0.weight']
    """

    def __init__(self, base_layer: nn.Linear | nn.Conv2d, low_rank: Mapping[int, LowRank]) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.ModuleDict({str(k): _factor(own.A, base_layer) for k, own in low_rank.items()})
        self.lora_B = nn.ModuleDict({str(k): _factor(own.B) for k, own in low_rank.items()})
        self.scales = {str(k): own.scale for k, own in low_rank.items()}
        self.train(base_layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the base layer, and of the adapters."""
        y: Tensor = self.base_layer(x)
        for k, scale in self.scales.items():
            y = y + scale * self.lora_B[k](self.lora_A[k](x))
        return y

    @property
    def low_rank(self) -> dict[int, LowRank]:
        """The weights of each adapter; they share the memory of the parameters."""
        weights = dict(self.named_parameters())
        sides = {k: [weights[f"lora_{side}.{k}.weight"].detach() for side in "AB"] for k in self.scales}
        return {int(k): LowRank(a, b, self.scales[k]) for k, (a, b) in sides.items()}

    @property
    def weight(self) -> Tensor:
        """W + ΔW."""
        return self.base_layer.weight + delta(self)

    @property
    def bias(self) -> Tensor | None:
        """That of the base layer."""
        return self.base_layer.bias

    def extra_repr(self) -> str:
        """The scales, which the parameters don't have."""
        return f"scales={self.scales}"


def delta(layer: LoraLayer) -> Tensor:
    """ΔW of all adapters of a layer, in the shape of its weight."""
    return torch.stack([own.delta() for own in layer.low_rank.values()]).sum(0)


def _factor(weight: Tensor, base: nn.Module | None = None) -> nn.Module:
    """A layer without bias with this weight, which goes over its input as `base` does."""
    outputs, inputs, *kernel = weight.shape
    layer: nn.Linear | nn.Conv2d
    if not kernel:
        layer = nn.Linear(inputs, outputs, bias=False, device="meta")
    elif isinstance(base, nn.Conv2d):
        how: dict[str, Any] = {
            "stride": base.stride,
            "padding": base.padding,
            "dilation": base.dilation,
            "padding_mode": base.padding_mode,
        }
        layer = nn.Conv2d(inputs, outputs, (kernel[0], kernel[1]), bias=False, device="meta", **how)
    else:
        layer = nn.Conv2d(inputs, outputs, 1, bias=False, device="meta")
    layer.weight = nn.Parameter(weight.clone())
    return layer


def attach(network: nn.Module, adapters: Sequence[AdapterWeights], part: str = "network") -> None:
    """Put a `LoraLayer` in the place of each layer that adapters change, and freeze all other parameters.

    The network is changed only if all adapters fit. Its output is then that of diffusers or PEFT with these adapters,
    with one exception: where α differs between the layers of a file of kohya's trainer, each layer has its own here,
    and diffusers 0.42.1 gives the most common one to the layers of attention.

    Args:
        network: The denoising network, or a text encoder.
        adapters: Their weights; those of one layer add up.
        part: Which of their weights, as `AdapterWeights.of_part` names them.

    Raises:
        ModelError: A layer of an adapter is not in the network, has another shape, or is of a class without adapters.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> attach(network, [AdapterWeights({"0": LowRank(torch.ones(1, 2), torch.ones(3, 1))})])
        >>> network
        Sequential(
          (0): LoraLayer(
            scales={'0': 1.0}
            (base_layer): Linear(in_features=2, out_features=3, bias=True)
            (lora_A): ModuleDict(
              (0): Linear(in_features=2, out_features=1, bias=False)
            )
            (lora_B): ModuleDict(
              (0): Linear(in_features=1, out_features=3, bias=False)
            )
          )
          (1): ReLU()
        )
    """
    by_layer: dict[str, dict[int, LowRank]] = {}
    for k, adapter in enumerate(adapters):
        for name, own in match_layers(network, adapter.of_part(part), adapter.source).items():
            by_layer.setdefault(name, {})[k] = own
    network.requires_grad_(False)
    for name, low_rank in by_layer.items():
        base = network.get_submodule(name)
        assert isinstance(base, nn.Linear | nn.Conv2d)
        network.set_submodule(name, LoraLayer(base, {k: _like(own, base.weight) for k, own in low_rank.items()}))


def _like(own: LowRank, weight: Tensor) -> LowRank:
    return LowRank(own.A.to(weight), own.B.to(weight), own.scale)


def match_layers(network: nn.Module, layers: Mapping[str, LowRank], source: str = "The adapter") -> dict[str, LowRank]:
    """Return low-rank weights by the names of the layers of a network, which are found by names of any format.

    Raises:
        ModelError: A layer is not in the network, has another shape, or is of a class without adapters.

    Example:
        >>> network = nn.ModuleDict({"block": nn.ModuleDict({"to_q": nn.Linear(2, 3)})})
        >>> list(match_layers(network, {"lora_unet_block_to_q": LowRank(torch.ones(1, 2), torch.ones(3, 1))}))
        ['block.to_q']
    """
    layers = diffusers_names(network, layers)
    names: dict[str, list[str]] = {}
    for name, _ in network.named_modules():
        names.setdefault(plain_name(name), []).append(name)
    unknown = [name for name in layers if len(names.get(plain_name(name), ())) != 1]
    if unknown:
        raise ModelError(
            f"{source} is not of this {type(network).__name__}: {len(unknown)} of its {len(layers)} layers are not "
            f"there ({join_names(unknown)}). Give the model that the adapter was trained on."
        )
    matched = {names[plain_name(name)][0]: own for name, own in layers.items()}
    for name, own in matched.items():
        _require_fit(network.get_submodule(name), name, own, source)
    return matched


def _require_fit(module: nn.Module, name: str, own: LowRank, source: str) -> None:
    """Check that the layer has adapters, and ΔW its shape."""
    known = (nn.Linear.forward, nn.Conv2d.forward)
    if not isinstance(module, nn.Linear | nn.Conv2d) or type(module).forward not in known:
        again = " Attach all adapters at once, to the network without any." if isinstance(module, LoraLayer) else ""
        raise ModelError(
            f"{source} changes {name!r}, which is a {type(module).__name__}; expected a Linear or a Conv2d.{again}"
        )
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        raise ModelError(f"{source} changes {name!r}, a convolution in {module.groups} groups; expected one group.")
    found, expected = (len(own.B), *own.A.shape[1:]), tuple(module.weight.shape)
    if found != expected:
        shapes = ["x".join(map(str, shape)) for shape in (own.A.shape, own.B.shape, found, expected)]
        raise ModelError(
            f"{source} does not fit the layer {name!r}: with A {shapes[0]} and B {shapes[1]} it changes a weight of "
            f"{shapes[2]}, and that of the layer is {shapes[3]}. Give the model that the adapter was trained on."
        )


def low_rank_weights(network: nn.Module, adapter: int = 0) -> dict[str, LowRank]:
    """The weights of the adapter at a place, from 0, by name of the layer, as `write_adapter` takes them."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LoraLayer)}
    return {name: layer.low_rank[adapter] for name, layer in layers.items() if adapter in layer.low_rank}
