"""Renormalised influence: influence on the query per length of the example's gradient."""

from __future__ import annotations

from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.method import Method
from whence.kernel.algebra import divided


def renormalised_influence(features: FeaturePair, damping: float) -> Tensor:
    """Renormalised influence: S_qn / ‖φ_n‖ with S as in TRAK; 0 where the gradient of n is 0.

    Only the example's side is normalised, which leaves the ranking for a query as with both, and only the score: Φ
    inside the kernel keeps its norms.

    Sign: positive is proponent. Unit: one over that of a feature. At large λ the ranking is that of the gradient
    cosine.

    Source: Hammoudeh & Lowd 2022, "Identifying a training-set attack's target using renormalized influence estimation"
    (arXiv 2201.10055); for diffusion models, Zheng et al. 2024 (arXiv 2311.00500).

    Args:
        features: Features of the loss.
        damping: c in λ = c · tr(ΦᵀΦ) / min(N, p).

    Returns:
        Scores, float64 [Q, N].

    Example:
        >>> import torch
        >>> features = FeaturePair(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> renormalised_influence(features, 1.4).float()  # 3/16 divided by 3, 1/8 divided by 1
        tensor([[0.0625, 0.1250]])
    """
    return divided(features.kernel.scores(damping), features.kernel.norms)


RENORMALISED_IF = Method(
    "renormalised-if",
    "Renormalised influence",
    "Hammoudeh & Lowd 2022, arXiv 2201.10055",
    renormalised_influence,
    additive=False,
)
