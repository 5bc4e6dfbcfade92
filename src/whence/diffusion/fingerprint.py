"""The fingerprint of a model: what two models share only if they are the same."""

from __future__ import annotations

import torch

from whence import artefacts
from whence.diffusion.process import DiffusionModel


def fingerprint(model: DiffusionModel) -> str:
    """SHA-256 (hex) of the weights, the schedule and what is predicted."""
    tensors = {
        name: [
            str(value.dtype),
            list(value.shape),
            artefacts.digest(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()),
        ]
        for name, value in sorted(model.network.state_dict().items())
    }
    schedule = artefacts.digest(model.alphas_cumprod.numpy().tobytes())
    return artefacts.digest([tensors, schedule, model.prediction, repr(model.network)])
