"""How a network of diffusers is called: its own arguments for (x_t, t, conditions), and its prediction of x_t's shape.

Conditions are tensors with a row for each example, by name. Networks want some of them inside dictionaries, want x_t in
another shape, or return more than a prediction. A family says so here, once, and the network is then a `Denoiser`. Its
class, its weights and their names stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

#: From x_t, t and the conditions to the arguments of the network, by position and by name.
Arguments = Callable[[Tensor, Tensor, dict[str, Tensor]], tuple[tuple[Any, ...], dict[str, Any]]]
#: From what the network returned and its own arguments to the prediction, in the shape of x_t.
Prediction = Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]


def set_call(network: nn.Module, arguments: Arguments | None = None, prediction: Prediction | None = None) -> nn.Module:
    """Return the network, which from now on is called as ``network(x_t, t, **conditions)``.

    Args:
        network: The network; it is changed.
        arguments: What it is called with; None where that is x_t, t and the conditions by their names.
        prediction: What is taken of its ``sample``; None for all of it.

    Example:
        >>> import torch
        >>> class Network(nn.Module):
        ...     def forward(self, x, t, more):
        ...         return torch.cat([x + more["y"], x], 1)
        >>> pack = lambda x, t, conditions: ((x, t), {"more": conditions})
        >>> network = set_call(Network(), pack, lambda output, _arguments, _named: output[:, :1])
        >>> network(torch.ones(1, 1), torch.zeros(1), y=torch.ones(1, 1))
        tensor([[2.]])
    """
    if arguments is not None:
        network.register_forward_pre_hook(partial(_pack, arguments), with_kwargs=True)
    if prediction is not None:
        network.register_forward_hook(partial(_take, prediction), with_kwargs=True)
    return network


def _pack(
    arguments: Arguments, _network: nn.Module, given: tuple[Any, ...], conditions: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return arguments(given[0], given[1], conditions)


def _take(
    prediction: Prediction, _network: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any
) -> Tensor:
    returned: Tensor = output if isinstance(output, Tensor) else output.sample
    return prediction(returned, given, named)


def same_call(network: nn.Module, other: nn.Module) -> nn.Module:
    """Return the other network, called as the first one is."""
    hooks = (*network._forward_pre_hooks.values(), *network._forward_hooks.values())
    for hook in hooks:
        if isinstance(hook, partial) and hook.func is _pack:
            set_call(other, arguments=hook.args[0])
        elif isinstance(hook, partial) and hook.func is _take:
            set_call(other, prediction=hook.args[0])
    return other
