"""Encoded ensembles: exact counterfactual pictures, by leaving out the members that saw a unit.

codebook, codebook_design           which member may see which unit, and placebos; how many members it takes
model, training                     the ensemble on disk, what its mean predicts, and training
members, member_layers              members in memory: whole networks, or adapters on one base
drawing, sampling, trajectories     how pictures are drawn, pictures, and drawing many of them together
ablation, landscape                 pictures without units, and what code words without a unit do
losses, set_losses, loss_draws      the exact loss of every ablation on any picture, from one of:
gram, weight_losses                 Gram matrices for the mean of predictions; each set by the mean of weights
opt_out                             one adapter without a unit
screen, tangents                    a first-order estimate of every ablation
influence                           effects of units tested against those of placebos, in figures and in words
"""

from whence.ensemble.ablation import Ablation, ablate, ablate_each, ablations
from whence.ensemble.codebook import Codebook
from whence.ensemble.members import Members, NetworkMembers
from whence.ensemble.model import Ensemble, MeanPrediction
from whence.ensemble.sampling import Samples, sample
from whence.ensemble.training import train_ensemble

__all__ = [
    "Ablation",
    "Codebook",
    "Ensemble",
    "MeanPrediction",
    "Members",
    "NetworkMembers",
    "Samples",
    "ablate",
    "ablate_each",
    "ablations",
    "sample",
    "train_ensemble",
]
