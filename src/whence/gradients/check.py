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
    """Check that the output for an example does not depend on the other examples of its batch.

    The first row is computed beside the other rows, and beside copies of itself.

    Raises:
        ModelError: The outputs differ; the message names the first layer whose output does.
    """
    conditions = conditions or {}
    copies = {name: value[:1].expand_as(value) for name, value in conditions.items()}
    mixed = _first_rows(network, x_t, t, conditions)
    alone = _first_rows(network, x_t[:1].expand_as(x_t), t[:1].expand_as(t), copies)
    different = [name for name, row in mixed.items() if not _same(row, alone.get(name, row))]
    if "" in different:
        first = next((repr(name) for name in different if name), "the network itself")
        raise ModelError(
            "The output of the network for one example changes with the other examples of the batch, so there is no "
            f"gradient of a single example. It begins before or in {first}. Take out what mixes the examples, such as "
            "a mean over the first dimension or a batch normalisation."
        )


def _first_rows(network: nn.Module, x_t: Tensor, t: Tensor, conditions: Mapping[str, Any]) -> dict[str, Tensor]:
    """The first row of the output of every layer, in the order of their calls, and of the network (name "")."""
    rows: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() and len(output) == len(x_t):
            rows.setdefault(name, output[0].clone())

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in network.named_modules() if name]
    try:
        rows[""] = denoise(network, x_t, t, **conditions)[0]
    finally:
        for handle in handles:
            handle.remove()
    return rows


def _same(a: Tensor, b: Tensor) -> bool:
    a, b = a.double(), b.double()
    return a.shape == b.shape and bool((a - b).norm() <= ROUNDING * max(float(a.norm()), float(b.norm()), 1e-6))
