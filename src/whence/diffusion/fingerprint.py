"""The fingerprint of a model: what two models share only if they are the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.process import DiffusionModel


def fingerprint(model: DiffusionModel) -> str:
    """SHA-256 (hex) of the weights, the schedule and what is predicted."""
    schedule = artefacts.digest(model.alphas_cumprod.numpy().tobytes())
    return artefacts.digest([_described(model.network.state_dict()), schedule, model.prediction, repr(model.network)])


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of tensors by name: their types, shapes and values."""
    return artefacts.digest(_described(tensors))


def _described(tensors: Mapping[str, Tensor]) -> dict[str, list[object]]:
    return {
        name: [
            str(value.dtype),
            list(value.shape),
            artefacts.digest(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()),
        ]
        for name, value in sorted(tensors.items())
    }
