"""Encoded ensembles: exact counterfactual pictures by leaving out the members that saw a unit."""

from whence.ensemble.ablation import Ablation, ablations
from whence.ensemble.codebook import Codebook
from whence.ensemble.counterfactuals import ablate, ablate_each
from whence.ensemble.mean import MeanPrediction
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, sample
from whence.ensemble.train import train_ensemble

__all__ = [
    "Ablation",
    "Codebook",
    "Ensemble",
    "MeanPrediction",
    "Samples",
    "ablate",
    "ablate_each",
    "ablations",
    "sample",
    "train_ensemble",
]
