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
    from whence.attribution.attribute import attribute
    from whence.attribution.config import AttributionConfig
    from whence.attribution.method import Method
    from whence.attribution.queries import read_queries
    from whence.config import Config, ModelConfig, SamplerConfig, TrainingConfig, read_config
    from whence.credit.behaviours import behaviour
    from whence.credit.compute import Effort, credit_of_study
    from whence.credit.contributors import Contributors
    from whence.credit.credit import Credit
    from whence.credit.estimators import ESTIMATORS
    from whence.credit.exact import credit_of_ensemble
    from whence.credit.study import Study, StudyConfig
    from whence.credit.sums import credit_of_scores
    from whence.credit.ways import Way
    from whence.data.dataset import NO_UNIT, Dataset
    from whence.data.load import load
    from whence.diffusion.draws import Draws
    from whence.diffusion.examples import Examples, Origin
    from whence.diffusion.model import DiffusionModel
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
    from whence.ensemble.influence import Influence
    from whence.ensemble.landscape import Landscape, landscapes
    from whence.ensemble.landscaping import landscape
    from whence.ensemble.losses import Losses
    from whence.ensemble.residuals import losses
    from whence.ensemble.screening import screen
    from whence.errors import WhenceError
    from whence.evaluation.bank import Bank, BankConfig, PoolRequest, build_bank, build_pool
    from whence.evaluation.exact.false_attribution import false_attribution
    from whence.evaluation.exact.false_rate import FalseAttribution
    from whence.gradients.compression import Compression
    from whence.proof.certificate import Certificate
    from whence.proof.certifying import certify
    from whence.proof.root import commit
    from whence.proof.verification import Verification
    from whence.proof.verifying import verify
    from whence.report import write_report
    from whence.scores.scores import Estimand, Scores
    from whence.similarity.attributors import Attributor, attributor
    from whence.similarity.pixel import pixel
    from whence.universe.read import Universe
    from whence.universe.write import write_universe

_HOMES = {
    "whence.scores.scores": ("Estimand", "Scores"),
    "whence.similarity.pixel": ("pixel",),
    "whence.config": ("Config", "ModelConfig", "SamplerConfig", "TrainingConfig", "read_config"),
    "whence.credit.behaviours": ("behaviour",),
    "whence.credit.compute": ("Effort", "credit_of_study"),
    "whence.credit.contributors": ("Contributors",),
    "whence.credit.credit": ("Credit",),
    "whence.credit.estimators": ("ESTIMATORS",),
    "whence.credit.exact": ("credit_of_ensemble",),
    "whence.credit.study": ("Study", "StudyConfig"),
    "whence.credit.sums": ("credit_of_scores",),
    "whence.credit.ways": ("Way",),
    "whence.data": ("NO_UNIT", "Dataset", "load"),
    "whence.diffusion.draws": ("Draws",),
    "whence.diffusion.model": ("DiffusionModel",),
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
    "whence.attribution.attribute": ("attribute",),
    "whence.similarity.attributors": ("Attributor", "attributor"),
    "whence.attribution.method": ("Method",),
    "whence.attribution.queries": ("read_queries",),
    "whence.attribution.config": ("AttributionConfig",),
    "whence.gradients.compression": ("Compression",),
    "whence.diffusion.examples": ("Examples", "Origin"),
    "whence.ensemble.influence": ("Influence",),
    "whence.ensemble.landscape": ("Landscape", "landscapes"),
    "whence.ensemble.landscaping": ("landscape",),
    "whence.ensemble.losses": ("Losses",),
    "whence.ensemble.residuals": ("losses",),
    "whence.ensemble.screening": ("screen",),
    "whence.errors": ("WhenceError",),
    "whence.evaluation.bank": ("Bank", "BankConfig", "PoolRequest", "build_bank", "build_pool"),
    "whence.evaluation.exact.false_attribution": ("false_attribution",),
    "whence.evaluation.exact.false_rate": ("FalseAttribution",),
    "whence.proof.certificate": ("Certificate",),
    "whence.proof.certifying": ("certify",),
    "whence.proof.root": ("commit",),
    "whence.proof.verification": ("Verification",),
    "whence.proof.verifying": ("verify",),
    "whence.universe.read": ("Universe",),
    "whence.universe.write": ("write_universe",),
    "whence.report": ("write_report",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Ablation",
    "AttributionConfig",
    "Attributor",
    "Bank",
    "BankConfig",
    "Certificate",
    "Codebook",
    "Compression",
    "Config",
    "Contributors",
    "Credit",
    "Dataset",
    "DiffusionModel",
    "Draws",
    "ESTIMATORS",
    "Effort",
    "Ensemble",
    "Estimand",
    "Examples",
    "FalseAttribution",
    "Influence",
    "Landscape",
    "Losses",
    "Method",
    "ModelConfig",
    "NO_UNIT",
    "Origin",
    "PoolRequest",
    "Record",
    "SamplerConfig",
    "Samples",
    "Scores",
    "Study",
    "StudyConfig",
    "TrainingConfig",
    "Universe",
    "Verification",
    "Way",
    "WhenceError",
    "ablate",
    "ablate_each",
    "attribute",
    "attributor",
    "behaviour",
    "build_bank",
    "build_pool",
    "certify",
    "commit",
    "credit_of_ensemble",
    "credit_of_scores",
    "credit_of_study",
    "false_attribution",
    "landscape",
    "landscapes",
    "load",
    "losses",
    "pixel",
    "read_config",
    "read_queries",
    "sample",
    "screen",
    "train",
    "train_ensemble",
    "verify",
    "write_report",
    "write_universe",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `whence --help` doesn't wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'whence' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
