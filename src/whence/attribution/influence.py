"""Influence by the curvature of the network: K-FAC and EK-FAC."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.method import Method
from whence.errors import ConfigError
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def influence(features: FeaturePair, damping: float) -> Tensor:
    """Influence: S_qn = 1/N g_qᵀ(G + λI)⁻¹g_n, with the whole gradients g of the loss and λ of each layer by itself.

    G = E_{x,t,ε} Jᵀ H J is the Gauss-Newton matrix of the mean training loss: J the Jacobian of the output by the
    weights, H = 2/D · 1 the Hessian of the loss ‖o - y‖²/D by the output o. It is estimated from targets that are
    drawn from the model's own Gaussian, not from the true ones, at draws of its own, and is modelled as diagonal in
    V ⊗ U, layer by layer, with U and V the eigenvectors of A = E a aᵀ and S = E δ δᵀ, a layer's inputs and its
    outputs' cotangents; the bias is one more input that is always 1. With Λ on this diagonal and g = Vᵀ ∇W U,

        S_qn = 1/N Σ_l Σ_oi g_qoi g_noi / (Λ_oi + λ_l),      λ_l = c · mean(Λ of layer l)

    * EK-FAC: Λ_oi = E g_oi², the diagonal of G in this basis, from draws of its own.
    * K-FAC: Λ_oi = σ_o α_i, the products of the eigenvalues of S and A.

    Positions of a layer (pixels, tokens, groups) count as uncorrelated in A and S ("expand"). Blocks of normalisations
    are not factored. Gradients are not compressed, and those of the training examples are not kept: they meet the
    queries' block by block, so memory doesn't grow with N.

    Sign: positive is proponent: without n the loss of q rises by S_qn, to first order. Unit: that of the loss.

    Source: Mlodozeniec et al. 2025, "Influence functions for scalable data attribution in diffusion models" (arXiv
    2410.13850), with K-FAC and this matrix ("GGN-model" there); Grosse et al. 2023 (arXiv 2308.03296) for EK-FAC.

    Returns:
        Scores, float64 [Q, N].

    Raises:
        ConfigError: The features come without eigenvalues.

    Example:
        >>> import torch
        >>> eigenvalues = torch.tensor([3.0, 1.0])  # of N G
        >>> pair = FeaturePair(torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 3.0]]), eigenvalues=eigenvalues)
        >>> influence(pair, 1.0).tolist()  # 5/(3 + 2) + 6/(1 + 2)
        [[3.0]]
    """
    if features.eigenvalues is None:
        raise ConfigError("Influence needs features in an eigenbasis, with eigenvalues. Take EK_FAC or K_FAC.")
    widths = list(features.widths) or [len(features.eigenvalues)]
    layers = (torch.split(part, widths, -1) for part in (features.queries, features.examples, features.eigenvalues))
    scores = torch.zeros(len(features.queries), len(features.examples), dtype=torch.float64)
    for queries, examples, eigenvalues in zip(*layers, strict=True):
        damped = eigenvalues + damping * (eigenvalues.mean() or 1.0)
        scores += queries.double() / damped @ examples.double().T
    return scores


_STUDY = "Mlodozeniec et al. 2025, arXiv 2410.13850"
EK_FAC = Method("ek-fac", "EK-FAC influence", _STUDY, influence, damping=1e-3, curvature="ek-fac", loss_units=True)
K_FAC = replace(EK_FAC, name="k-fac", title="K-FAC influence", curvature="k-fac")
