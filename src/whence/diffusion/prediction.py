"""Network outputs in canonical batches: all of one size, the last one padded with zeros.

The rounding of a kernel depends on the shape of its batch. In canonical batches the output of a row depends on the size
of the batch, but not on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import denoise

#: The conditions of a network that takes none.
NO_CONDITIONS: Mapping[str, Tensor] = MappingProxyType({})


def on_device(conditions: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return the conditions on a device."""
    return {name: tensor.to(device) for name, tensor in conditions.items()}


@torch.inference_mode()
def predict(
    network: nn.Module, x: Tensor, t: Tensor, batch_size: int, conditions: Mapping[str, Tensor] = NO_CONDITIONS
) -> Tensor:
    """Return network outputs [n, ...] for x_t [n, ...] and t [n].

    Args:
        network: A `Denoiser`.
        x: Noised examples.
        t: Their timesteps.
        batch_size: Rows in a canonical batch.
        conditions: Further arguments of the network by name, n rows each; padded with zeros, as x is.

    Example:
        >>> predict(nn.Bilinear(1, 1, 1), torch.ones(3, 1), torch.zeros(3, 1), batch_size=2).shape
        torch.Size([3, 1])
    """
    outputs = []
    for start in range(0, max(len(x), 1), batch_size):
        rows = slice(start, start + batch_size)
        padded = {name: _pad(tensor[rows], batch_size) for name, tensor in conditions.items()}
        output = denoise(network, _pad(x[rows], batch_size), _pad(t[rows], batch_size), **padded)
        outputs.append(output[: len(x) - start])
    return torch.cat(outputs)


def _pad(x: Tensor, batch_size: int) -> Tensor:
    return torch.cat([x, x.new_zeros(batch_size - len(x), *x.shape[1:])])
