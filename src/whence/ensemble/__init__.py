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

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.lazy import attribute_reader, homes

_HOMES = homes(
    __name__,
    {
        "ablation": "Ablation ablate ablate_each ablations",
        "codebook": "Codebook",
        "members": "Members NetworkMembers",
        "model": "Ensemble MeanPrediction",
        "sampling": "Samples sample",
        "training": "train_ensemble",
    },
)
__all__ = sorted(_HOMES)
__getattr__ = attribute_reader(__name__, _HOMES)

if TYPE_CHECKING:
    from whence.ensemble.ablation import Ablation as Ablation
    from whence.ensemble.ablation import ablate as ablate
    from whence.ensemble.ablation import ablate_each as ablate_each
    from whence.ensemble.ablation import ablations as ablations
    from whence.ensemble.codebook import Codebook as Codebook
    from whence.ensemble.members import Members as Members
    from whence.ensemble.members import NetworkMembers as NetworkMembers
    from whence.ensemble.model import Ensemble as Ensemble
    from whence.ensemble.model import MeanPrediction as MeanPrediction
    from whence.ensemble.sampling import Samples as Samples
    from whence.ensemble.sampling import sample as sample
    from whence.ensemble.training import train_ensemble as train_ensemble
