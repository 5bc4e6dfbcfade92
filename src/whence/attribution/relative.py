"""Relative influence: influence on the query per change of the whole model."""

from __future__ import annotations

from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.method import Method
from whence.kernel.algebra import divided


def relative_influence(features: FeaturePair, damping: float) -> Tensor:
    """Relative influence: S_qn / ‖(ΦᵀΦ + λI)⁻¹φ_n‖ with S as in TRAK; 0 where the gradient of n is 0.

    The divisor is how far the parameters move with the weight of n. So examples that change everything (outliers, wrong
    labels) don't come first for every query.

    Sign: positive is proponent. Unit: that of a feature. Scores add up over examples less meaningfully than TRAK's,
    since each has its own divisor.

    Source: Barshan, Brunet & Dziugaite 2020, "RelatIF: Identifying explanatory training examples via relative
    influence" (arXiv 2003.11630), θ-RelatIF; for diffusion models, Zheng et al. 2024 (arXiv 2311.00500).

    Args:
        features: Features of the loss.
        damping: c in λ = c · tr(ΦᵀΦ) / min(N, p).

    Returns:
        Scores, float64 [Q, N].

    Example:
        >>> import torch
        >>> features = FeaturePair(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> relative_influence(features, 1.4).float()  # 3/16 divided by 3/16, 1/8 divided by 1/8
        tensor([[1., 1.]])
    """
    return divided(features.kernel.scores(damping), features.kernel.relative(damping))


RELATIVE_IF = Method(
    "relative-if",
    "Relative influence",
    "Barshan et al. 2020, arXiv 2003.11630",
    relative_influence,
    additive=False,
)
