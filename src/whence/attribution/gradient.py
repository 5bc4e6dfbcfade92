"""Gradient dot product and cosine: how far the gradients of two examples have the same direction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.inner_product import InnerProduct, by_norm
from whence.attribution.method import Method
from whence.kernel.algebra import divided

if TYPE_CHECKING:
    from torch import Tensor


def gradient_dot(features: FeaturePair, _damping: float) -> Tensor:
    """Gradient dot: S_qn = φ_q · φ_n.

    Sign: positive is proponent: to first order, a gradient step on n lowers the loss of q. Unit: the readout squared
    per parameter squared. Summed over checkpoints with their learning rates it is TracInCP, and with the recorded
    timesteps Diffusion-TracIn. It is also the limit of λ · TRAK at large λ. Examples of large gradient norm come out on
    top of every query. In the diffusion literature TracInCP is a plain mean over checkpoints, without learning rates.

    Source: Pruthi et al. 2020, "Estimating training data influence by tracing gradient descent" (arXiv 2002.08484);
    for diffusion models, Zheng et al. 2024 (arXiv 2311.00500), baseline "Gradient" and TracInCP.

    Returns:
        Scores, float64 [Q, N].

    Example:
        >>> import torch
        >>> gradient_dot(FeaturePair(torch.tensor([[1.0, 0.0], [3.0, -4.0]]), torch.tensor([[0.0, 2.0]])), 1.0).tolist()
        [[0.0, -8.0]]
    """
    return features.dot


def gradient_cosine(features: FeaturePair, _damping: float) -> Tensor:
    """Gradient cosine: S_qn = φ_q · φ_n / (‖φ_q‖ ‖φ_n‖); 0 where a gradient is 0.

    Sign: positive is proponent. Unit: none, from -1 to 1. Its mean over checkpoints is GAS. It normalises the mean over
    draws; Diffusion-ReTrac normalises every draw before the mean is taken, so it is the `gradient_dot` of normalised
    features.

    Source: Hammoudeh & Lowd 2022, "Identifying a training-set attack's target using renormalized influence estimation"
    (arXiv 2201.10055), GAS; for diffusion models, Zheng et al. 2024 (arXiv 2311.00500).

    Returns:
        Scores, float64 [Q, N].

    Example:
        >>> import torch
        >>> pair = FeaturePair(torch.tensor([[1.0, 0.0], [3.0, -4.0]]), torch.tensor([[0.0, 2.0]]))
        >>> gradient_cosine(pair, 1.0).tolist()
        [[0.0, -0.8]]
    """
    examples, queries = features.norms
    return divided(features.dot, queries[:, None] * examples)


_STUDY = "Zheng et al. 2024, arXiv 2311.00500"
_COSINE = InnerProduct(factor=by_norm, of_queries=True)
GRADIENT_DOT = Method("gradient-dot", "Gradient dot product", _STUDY, gradient_dot, damped=False, inner=InnerProduct())
GRADIENT_COSINE = Method(
    "gradient-cosine", "Gradient cosine", _STUDY, gradient_cosine, damped=False, additive=False, inner=_COSINE
)
TRACIN_CP = replace(
    GRADIENT_DOT, name="tracin-cp", title="TracInCP", paper="Pruthi et al. 2020, arXiv 2002.08484", over="checkpoints"
)
GAS = replace(
    GRADIENT_COSINE, name="gas", title="GAS", paper="Hammoudeh & Lowd 2022, arXiv 2201.10055", over="checkpoints"
)
TRACIN = Method(
    "tracin",
    "Diffusion-TracIn",
    "Xie et al. 2024, arXiv 2401.09031",
    gradient_dot,
    over="record",
    damped=False,
    loss_units=True,
    inner=InnerProduct(),
)
RETRAC = replace(TRACIN, name="retrac", title="Diffusion-ReTrac", normalised=True, loss_units=False)
