"""The first layer and the examples at which a NaN or an infinity appears."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import NO_CONDITIONS, on_device
from whence.diffusion.model import DiffusionModel
from whence.errors import NotFiniteError


def require_finite(
    model: DiffusionModel,
    x: Tensor,
    t: Tensor,
    noise: Tensor,
    ids: Sequence[str],
    where: str,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
) -> None:
    """Run a batch again, and name the first layer and the examples whose loss is not finite.

    Args:
        model: The model.
        x: Clean examples [n, ...].
        t: Timesteps [n].
        noise: Noise [n, ...].
        ids: Example ids, n of them.
        where: The place in the work, for the message: ``"training step 3"``.
        conditions: Further arguments of the network by name, n rows each.

    Raises:
        NotFiniteError: A loss is not finite.
    """
    first: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            if not first and isinstance(output, Tensor) and not torch.isfinite(output).all():
                first.append(name)

        return hook

    leaves = [(n, m) for n, m in model.network.named_modules() if n and not list(m.children())]
    handles = [layer.register_forward_hook(watch(name)) for name, layer in leaves]
    device = model.device
    try:
        with torch.no_grad():
            losses = model.loss(x.to(device), t.to(device), noise.to(device), **on_device(conditions, device)).cpu()
    finally:
        for handle in handles:
            handle.remove()
    bad = [name for name, value in zip(ids, losses, strict=True) if not torch.isfinite(value)]
    if bad:
        shown = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        weights = [n for n, p in model.network.named_parameters() if not torch.isfinite(p).all()]
        cause = f"the weights of {weights[0]} are not finite" if weights else "its weights are finite"
        raise NotFiniteError(
            f"Not a finite loss in {where}, for {shown}. The first layer whose output is not finite is "
            f"{first[0] if first else 'none (the images themselves)'}; {cause}. "
            "A lower training.learning_rate usually helps."
        )
