"""TRAK, D-TRAK and Journey-TRAK."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.inner_product import InnerProduct
from whence.attribution.method import Method

if TYPE_CHECKING:
    from torch import Tensor


def trak(features: FeaturePair, damping: float) -> Tensor:
    """TRAK: S_qn = φ_qᵀ(ΦᵀΦ + λI)⁻¹φ_n.

    Sign: positive is proponent. Unit: none; scores of one readout compare across dampings and models, and are scaled by
    neither the number of features nor their compression.

    * TRAK: features of the loss on both sides. Needs many draws: the noise term in the gradient must average out.
    * D-TRAK: features of the mean squared norm of the output, on both sides. Its gradients share one strong direction,
      which single precision can't resolve at small damping; here it is solved in double precision.
    * Journey-TRAK: loss features of the examples; of the query, those of the loss at the clean image that is predicted
      along its trajectory.

    TRAK's terms for classifiers (weights 1 - p, soft thresholds) have no counterpart here. The library of its authors
    also divides the inverse by its mean absolute entry, so its scores differ by a constant factor per model, and its λ
    is absolute; D-TRAK's published λ, for unscaled projections to 32,768, are λ·32,768 of scaled ones.

    Source: Park et al. 2023, "TRAK: Attributing model behavior at scale" (arXiv 2303.14186); Zheng et al. 2024,
    "Intriguing properties of data attribution on diffusion models" (arXiv 2311.00500); Georgiev et al. 2023, "The
    journey, not the destination" (arXiv 2312.06205).

    Returns:
        Scores.

    Example:
        >>> import torch
        >>> trak(FeaturePair(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]])), 1.4).float()
        tensor([[0.1875, 0.1250]])
    """
    return features.kernel.scores(damping)


TRAK = Method("trak", "TRAK", "Park et al. 2023, arXiv 2303.14186", trak, inner=InnerProduct())
D_TRAK = Method(
    "d-trak",
    "D-TRAK",
    "Zheng et al. 2024, arXiv 2311.00500",
    trak,
    readout="squared-norm",
    behaviour="squared norm of the output at the query, in place of its loss",
    inner=InnerProduct(),
)
JOURNEY_TRAK = Method(
    "journey-trak",
    "Journey-TRAK, mean over the steps",
    "Georgiev et al. 2023, arXiv 2312.06205",
    trak,
    steps="mean",
    behaviour="loss of the clean pictures predicted on the way to the query",
)
JOURNEY_TRAK_STEPS = replace(
    JOURNEY_TRAK,
    name="journey-trak-steps",
    title="Journey-TRAK, step by step",
    steps="each",
    behaviour="loss of the clean picture predicted at one step on the way to the query",
)
