"""Checks of a network before its gradients are taken, and the network as the gradient pass needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import denoise
from whence.errors import ModelError

#: Largest change of an output, relative to its norm, that rounding explains.
ROUNDING = 1e-3
#: Attributes of modules that are off while gradients are taken: they change how a network is computed, not what.
_SWITCHES = ("gradient_checkpointing", "inplace")


@contextmanager
def plainly_computed(network: nn.Module) -> Iterator[None]:
    """Switch off gradient checkpointing and in-place activations of a network; undo it afterwards."""
    switched = [
        (module, name) for module in network.modules() for name in _SWITCHES if getattr(module, name, None) is True
    ]
    try:
        for module, name in switched:
            setattr(module, name, False)
        yield
    finally:
        for module, name in switched:
            setattr(module, name, True)


@contextmanager
def explained_errors() -> Iterator[None]:
    """Turn errors of autograd that a network causes into a `ModelError` that says what to change in it.

    Raises:
        ModelError: The network changes a tensor in place that autograd needs, or leaves autograd.
        RuntimeError: Any other error of PyTorch.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if "inplace" in text or "in-place" in text:
            raise ModelError(
                "The network changes a tensor in place that its gradient needs. Write x = x + y in place of x += y, "
                f"and relu(x) in place of relu_(x). PyTorch says: {text.splitlines()[0]}"
            ) from error
        if "does not require grad" in text:
            raise ModelError(
                "The output of the network has no gradient: its last part runs under torch.no_grad, or detaches. Take "
                f"that out. PyTorch says: {text.splitlines()[0]}"
            ) from error
        raise


@torch.no_grad()
def require_separate_rows(
    network: nn.Module, x_t: Tensor, t: Tensor, conditions: Mapping[str, Any] | None = None
) -> None:
    """Check that the output for an example does not depend on chance, nor on the other examples of its batch.

    The rows have different timesteps. The batch is computed twice; then its first and its last row are each computed
    by themselves, in a batch of two copies.

    Raises:
        ModelError: The outputs differ; the message names the first layer whose output does.
    """
    conditions, t = conditions or {}, _different(t)
    ends = [0, len(x_t) - 1]
    mixed = _rows(network, x_t, t, conditions, ends)
    again = _rows(network, x_t, t, conditions, ends)
    layer = _first_different(mixed, again, [0, 1])
    if layer is not None:
        raise ModelError(
            "The output of the network for the same batch changes when it is computed again: the network is random, so "
            f"its gradient is not that of a fixed function. It begins before or in {layer}. Switch off what is random "
            "in eval mode, such as dropout or noise that the network adds."
        )
    for end, row in enumerate(ends):
        copies = [row, row]
        several = {name: value[copies] for name, value in conditions.items()}
        alone = _rows(network, x_t[copies], t[copies], several, [0, 1])
        layer = _first_different(mixed, alone, [end, end])
        if layer is not None:
            raise ModelError(
                "The output of the network for one example changes with the other examples of the batch, so there is "
                f"no gradient of a single example. It begins before or in {layer}. Take out what mixes the examples, "
                "such as a mean over the first dimension, a batch normalisation, or the timestep of the first example "
                "for all."
            )


def _different(t: Tensor) -> Tensor:
    """Timesteps as they are if they differ; else some that do, no larger than the largest, as far as there are any."""
    if len(set(t.tolist())) == len(t):
        return t
    largest = max(int(t.max()), 1)
    return (largest - torch.arange(len(t), device=t.device)).clamp(min=0).to(t.dtype)


def _first_different(batch: Mapping[str, Tensor], other: Mapping[str, Tensor], rows: list[int]) -> str | None:
    """The first layer whose rows in a batch aren't those in another, for a message; None if the output is the same."""
    different = [
        name
        for name, output in batch.items()
        if name in other and not all(_same(output[row], own) for row, own in zip(rows, other[name], strict=True))
    ]
    if "" not in different:
        return None
    return next((repr(name) for name in different if name), "the network itself")


def _rows(
    network: nn.Module, x_t: Tensor, t: Tensor, conditions: Mapping[str, Any], rows: list[int]
) -> dict[str, Tensor]:
    """Some rows of the output of every layer, in the order of their calls, and of the network (name "")."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() and len(output) == len(x_t):
            outputs.setdefault(name, output[rows])

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in network.named_modules() if name]
    try:
        outputs[""] = denoise(network, x_t, t, **conditions)[rows]
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _same(a: Tensor, b: Tensor) -> bool:
    a, b = a.double(), b.double()
    return a.shape == b.shape and bool((a - b).norm() <= ROUNDING * max(float(a.norm()), float(b.norm()), 1e-6))
