"""Relative and renormalised influence: TRAK divided by a norm of the example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.inner_product import InnerProduct, by_movement, by_norm
from whence.attribution.method import Method
from whence.kernel.algebra import divided

if TYPE_CHECKING:
    from torch import Tensor


def relative_influence(features: FeaturePair, damping: float) -> Tensor:
    """Relative influence: S_qn / ‖(ΦᵀΦ + λI)⁻¹φ_n‖ with S as in TRAK; 0 where the gradient of n is 0.

    The divisor is how far the parameters move with the weight of n. So examples that change everything (outliers, wrong
    labels) don't come first for every query. Sign: positive is proponent. Unit: that of a feature. Scores add up over
    examples less meaningfully than TRAK's, since each has its own divisor.

    Source: Barshan, Brunet & Dziugaite 2020, "RelatIF: Identifying explanatory training examples via relative
    influence" (arXiv 2003.11630), θ-RelatIF; for diffusion models, Zheng et al. 2024 (arXiv 2311.00500).

    Returns:
        Scores.

    Example:
        >>> import torch
        >>> features = FeaturePair(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> relative_influence(features, 1.4).float()  # 3/16 divided by 3/16, 1/8 divided by 1/8
        tensor([[1., 1.]])
    """
    return divided(features.kernel.scores(damping), features.kernel.relative(damping))


def renormalised_influence(features: FeaturePair, damping: float) -> Tensor:
    """Renormalised influence: S_qn / ‖φ_n‖ with S as in TRAK; 0 where the gradient of n is 0.

    Only the example's side is normalised, which leaves the ranking for a query as with both, and only the score: Φ
    inside the kernel keeps its norms. Sign: positive is proponent. Unit: one over that of a feature. At large λ the
    ranking is that of the gradient cosine.

    Source: Hammoudeh & Lowd 2022, "Identifying a training-set attack's target using renormalized influence estimation"
    (arXiv 2201.10055); for diffusion models, Zheng et al. 2024 (arXiv 2311.00500).

    Returns:
        Scores.

    Example:
        >>> import torch
        >>> features = FeaturePair(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> renormalised_influence(features, 1.4).float()  # 3/16 divided by 3, 1/8 divided by 1
        tensor([[0.0625, 0.1250]])
    """
    return divided(features.kernel.scores(damping), features.kernel.norms)


RELATIVE_IF = Method(
    "relative-if",
    "Relative influence",
    "Barshan et al. 2020, arXiv 2003.11630",
    relative_influence,
    additive=False,
    inner=InnerProduct(factor=by_movement),
)
RENORMALISED_IF = Method(
    "renormalised-if",
    "Renormalised influence",
    "Hammoudeh & Lowd 2022, arXiv 2201.10055",
    renormalised_influence,
    additive=False,
    inner=InnerProduct(factor=by_norm),
)
