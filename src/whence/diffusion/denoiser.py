"""Denoisers: networks that are called as ``network(x_t, t, **conditions)``, and their outputs in canonical batches."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from whence.errors import ModelError, WhenceWarning

#: The conditions of a network that takes none.
NO_CONDITIONS: Mapping[str, Tensor] = MappingProxyType({})


class Denoiser(Protocol):
    """A network that predicts the noise, the velocity or the clean example from a noised example.

    It gets x_t float32 [n, ...] (images, latents or anything else of a fixed shape), timesteps t int64 [n] in
    0 ... T-1, and its conditions (class labels, embedded captions) as keyword tensors with n rows. It returns a tensor
    of the shape of x_t, or an object that has it as ``.sample``, as the networks of diffusers do. Row k of the output
    may depend on row k of the inputs only.

    Example:
        >>> import torch
        >>> from diffusers import DDPMScheduler
        >>> from whence.diffusion.model import DiffusionModel
        >>> class Small(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(5, 4)
        ...     def forward(self, x_t, t):
        ...         return self.layer(torch.cat([x_t, t[:, None] / 1000], 1))
        >>> model = DiffusionModel(Small(), DDPMScheduler(prediction_type="epsilon"), shape=(4,))
        >>> model.loss(torch.zeros(3, 4), torch.tensor([0, 500, 999]), torch.ones(3, 4)).shape
        torch.Size([3])
    """

    def __call__(self, x_t: Tensor, t: Tensor, /, **conditions: Tensor) -> Any:
        """The output for x_t [n, ...] at timesteps t [n]."""


def denoise(network: Denoiser, x_t: Tensor, t: Tensor, **conditions: Tensor) -> Tensor:
    """The output of a denoiser as a tensor, which must have the shape of x_t."""
    returned = network(x_t, t, **conditions)
    output = returned if isinstance(returned, Tensor) else getattr(returned, "sample", None)
    if not isinstance(output, Tensor):
        raise ModelError(
            f"The network returned {type(returned).__name__}; expected a tensor or an object with .sample. Wrap it in "
            "an nn.Module whose forward returns the tensor."
        )
    if output.shape != x_t.shape:
        doubled = output.dim() == x_t.dim() > 1 and output.shape[1] == 2 * x_t.shape[1]
        case = "the second half of the channels is a learned variance" if doubled else "that is not what it predicts"
        raise ModelError(
            f"The network returned {_shape(output)} for an input of {_shape(x_t)}; expected the same shape. If {case}, "
            "wrap it in an nn.Module whose forward returns the prediction alone."
        )
    return output


def plain_network(network: nn.Module) -> nn.Module:
    """Return the network itself, in float32: out of the wrappers of compilation and of several devices.

    A network of another precision is copied, which is a `WhenceWarning`; the one that was given is not changed.
    """
    network = getattr(network, "_orig_mod", network)
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        network = network.module
    types = sorted({str(p.dtype) for p in network.parameters() if p.is_floating_point() and p.dtype != torch.float32})
    if types:
        note = f"The weights of the network are {', '.join(types)}; Whence computes with a copy of them in float32."
        warnings.warn(note, WhenceWarning, stacklevel=4)
    if types or getattr(network, "_compiled_call_impl", None) is not None:
        network = copy.deepcopy(network).float()
        network._compiled_call_impl = None
    return network


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def on_device(conditions: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return the conditions on a device."""
    return {name: tensor.to(device) for name, tensor in conditions.items()}


@torch.inference_mode()
def predict(
    network: nn.Module, x: Tensor, t: Tensor, batch_size: int, conditions: Mapping[str, Tensor] = NO_CONDITIONS
) -> Tensor:
    """Return network outputs [n, ...] for x_t [n, ...], t [n] and conditions of n rows, in canonical batches.

    These are all of one size, the last one padded with zeros. The rounding of a kernel depends on the shape of its
    batch; so the output of a row depends on the size of the batch, but not on the rows beside it.
    """
    outputs = []
    for start in range(0, max(len(x), 1), batch_size):
        rows = slice(start, start + batch_size)
        padded = {name: pad(tensor[rows], batch_size) for name, tensor in conditions.items()}
        output = denoise(network, pad(x[rows], batch_size), pad(t[rows], batch_size), **padded)
        outputs.append(output[: len(x) - start])
    return torch.cat(outputs)


def pad(x: Tensor, batch_size: int) -> Tensor:
    """Return rows [n, ...] with rows of zeros up to a canonical batch."""
    return torch.cat([x, x.new_zeros(batch_size - len(x), *x.shape[1:])])
