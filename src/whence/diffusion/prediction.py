"""Network outputs in canonical batches: of one fixed size, the last one padded with zeros.

A kernel's rounding depends on the shape of its batch. In canonical batches a row's output depends on their
size, but not on the rows beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import denoise


@torch.inference_mode()
def predict(network: nn.Module, x: Tensor, t: Tensor, batch_size: int) -> Tensor:
    """Return network outputs [n, C, H, W] for x_t [n, C, H, W] and t int64 [n].

    Args:
        network: A `Denoiser`.
        x: Noised pictures.
        t: Their timesteps.
        batch_size: Rows in a canonical batch.

    Example:
        >>> predict(nn.Bilinear(1, 1, 1), torch.ones(3, 1), torch.zeros(3, 1), batch_size=2).shape
        torch.Size([3, 1])
    """
    batches = zip(torch.split(x, batch_size), torch.split(t, batch_size), strict=True)
    return torch.cat([_one(network, *batch, batch_size) for batch in batches])


def _one(network: nn.Module, x: Tensor, t: Tensor, batch_size: int) -> Tensor:
    return denoise(network, _pad(x, batch_size), _pad(t, batch_size))[: len(x)]


def _pad(x: Tensor, batch_size: int) -> Tensor:
    return torch.cat([x, x.new_zeros(batch_size - len(x), *x.shape[1:])])
