"""The initial weights of an adapter that is trained: A is random, B is zero, so that nothing is changed yet."""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from whence.config import AdapterConfig
from whence.diffusion.adapters.formats import NETWORK, TRANSFORMER
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.errors import ConfigError
from whence.seeds import derived_seed


def initial_weights(network: nn.Module, config: AdapterConfig, seed: int) -> AdapterWeights:
    """Return the adapter from which a training with a seed begins, of all layers that the settings name.

        A ~ uniform on ± 1 / √(inputs of the layer),   B = 0,   scale = α / r

    These are the defaults of PEFT. A of a layer depends on the seed and the name of the layer alone. Where A is frozen
    it does not depend on the seed: runs with one A have B in common coordinates, so that the mean of B is that of ΔW.

    Raises:
        ConfigError: No linear layer and no convolution has such a name.

    Example:
        >>> network = nn.ModuleDict({"to_q": nn.Linear(4, 3), "norm": nn.LayerNorm(4)})
        >>> weights = initial_weights(network, AdapterConfig(rank=2, target="to_q"), seed=0)
        >>> [(name, tuple(own.A.shape), tuple(own.B.shape)) for name, own in weights.network.items()]
        [('to_q', (2, 4), (3, 2))]
    """
    layers = {name: _initial(name, layer, config, seed) for name, layer in _layers(network, config.target).items()}
    if not layers:
        raise ConfigError(
            f"No linear layer and no convolution of the {type(network).__name__} has a name that contains "
            f"{config.target!r}. Give a part of their names, such as 'attn2'."
        )
    return AdapterWeights(layers, network_part=network_part(network))


def network_part(network: nn.Module) -> str:
    """What the pipelines of diffusers call a network: ``transformer`` if it is one, else ``unet``."""
    return TRANSFORMER if any("Transformer" in kind.__name__ for kind in type(network).__mro__) else NETWORK


def _start(config: AdapterConfig, seed: int) -> int:
    """The seed of A of a training with a seed."""
    if config.freeze_a:
        return 0
    return seed if config.start is None else config.start


def _layers(network: nn.Module, target: str) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers that can have an adapter and whose names contain the pattern."""
    return {
        name: module
        for name, module in network.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and re.search(target, name)
    }


def _initial(name: str, layer: nn.Linear | nn.Conv2d, config: AdapterConfig, seed: int) -> LowRank:
    outputs, *inputs = layer.weight.shape
    random = torch.Generator().manual_seed(derived_seed(_start(config, seed), f"lora_A {name}"))
    a = torch.empty(config.rank, *inputs)
    nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=random)
    return LowRank(a, torch.zeros(outputs, config.rank, *[1] * (len(inputs) - 1)), config.scale)
