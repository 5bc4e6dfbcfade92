"""Denoisers: networks that are called as ``network(x_t, t, **conditions)``."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from whence.errors import ModelError


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
    """Call a denoiser and return its output as a tensor.

    Args:
        network: The denoiser.
        x_t: Noised examples [n, ...].
        t: Timesteps int64 [n].
        **conditions: Further arguments of the network; n rows each.

    Returns:
        The output, of the shape of x_t.

    Raises:
        ModelError: The network returned no tensor, or one of another shape.

    Example:
        >>> import torch
        >>> denoise(lambda x_t, t: 2 * x_t, torch.ones(1, 2), torch.tensor([7]))
        tensor([[2., 2.]])
    """
    returned = network(x_t, t, **conditions)
    output = returned if isinstance(returned, Tensor) else getattr(returned, "sample", None)
    if not isinstance(output, Tensor):
        raise ModelError(
            f"The network returned {type(returned).__name__}; expected a tensor or an object with .sample. Wrap it in "
            "an nn.Module whose forward returns the tensor."
        )
    if output.shape != x_t.shape:
        doubled = output.dim() == x_t.dim() > 1 and output.shape[1] == 2 * x_t.shape[1]
        raise ModelError(
            f"The network returned {_shape(output)} for an input of {_shape(x_t)}; expected the same shape."
            + (
                " If the second half of the channels is a learned variance,"
                if doubled
                else " If that is not what it predicts,"
            )
            + " wrap it in an nn.Module whose forward returns the prediction alone."
        )
    return output


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
