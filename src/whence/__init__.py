"""Training data attribution for diffusion models.

For a picture that a diffusion model drew: which training images, and whose, is it made of, and what
would have been drawn without them?

    import whence

    digits = whence.load("digits")
    ensemble = whence.train_ensemble(digits, "runs/ens", members=16)
    samples = whence.sample(ensemble, count=16, seed=0)
    [ablation] = whence.ablate(ensemble, "0/3", units=["17"])
    whence.write_report(ensemble)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whence.attribution.pixel import pixel
    from whence.attribution.scores import Estimand, Scores
    from whence.config import Config, ModelConfig, SamplerConfig, TrainingConfig, read_config
    from whence.data.dataset import NO_UNIT, Dataset
    from whence.data.load import load
    from whence.diffusion.draws import Draws
    from whence.diffusion.process import DiffusionModel
    from whence.diffusion.record import Record
    from whence.diffusion.training import train
    from whence.ensemble import (
        Ablation,
        Codebook,
        Ensemble,
        Samples,
        ablate,
        ablate_each,
        sample,
        train_ensemble,
    )
    from whence.errors import WhenceError
    from whence.report import write_report

_HOMES = {
    "whence.attribution": ("Estimand", "Scores", "pixel"),
    "whence.config": ("Config", "ModelConfig", "SamplerConfig", "TrainingConfig", "read_config"),
    "whence.data": ("NO_UNIT", "Dataset", "load"),
    "whence.diffusion.draws": ("Draws",),
    "whence.diffusion.process": ("DiffusionModel",),
    "whence.diffusion.record": ("Record",),
    "whence.diffusion.training": ("train",),
    "whence.ensemble": (
        "Ablation",
        "Codebook",
        "Ensemble",
        "Samples",
        "ablate",
        "ablate_each",
        "sample",
        "train_ensemble",
    ),
    "whence.errors": ("WhenceError",),
    "whence.report": ("write_report",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "NO_UNIT",
    "Ablation",
    "Codebook",
    "Config",
    "Dataset",
    "DiffusionModel",
    "Draws",
    "Ensemble",
    "Estimand",
    "ModelConfig",
    "Record",
    "SamplerConfig",
    "Samples",
    "Scores",
    "TrainingConfig",
    "WhenceError",
    "ablate",
    "ablate_each",
    "load",
    "pixel",
    "read_config",
    "sample",
    "train",
    "train_ensemble",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `whence --help` doesn't wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'whence' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
