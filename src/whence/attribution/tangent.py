"""Tangent kernel regression."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.inner_product import InnerProduct
from whence.attribution.method import Method
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def tangent(features: FeaturePair, damping: float) -> Tensor:
    """Tangent kernel regression, layer by layer: S = 1/L Σ_l K_ql (K_l + λ_l I)⁻¹ with K_lnn' = E_{t,ε} ⟨J_ln, J_ln'⟩.

    J_ln is the Jacobian of the output at example n by the weights of layer l. To first order in the weights, a network
    that is fitted by least squares is a kernel regression on its tangent kernel. S_qn is how far its output at q moves
    if the target at n moves by one: the share ∂o_q/∂y_n. The mean over layers keeps one of large gradients from hiding
    the others. J_n and J_n' are taken at the same timestep and noise, so that examples and queries are compared at one
    noise level; means over draws, as in TRAK and D-TRAK, lose most of that and need many draws.

    A Jacobian has a row for each element of the output. One backward pass from random signs v_k gives J_nᵀv_k, whose
    inner products are, on average, those of the Jacobians (Hutchinson 1990). Signs, timestep and noise of a draw are
    the same for all examples and queries (features of the readout `signs` at shared draws). Each draw's features are
    multiplied by random signs of the draw, so that the inner product of two sums over draws is the sum of the draws'
    kernels, with an error that falls with the width.

    Noise and signs of pictures of several shapes are the centre of those on one canvas, as high and wide as the largest
    of examples and queries. So pictures are compared where they overlap, and those of a query's own shape have larger
    scores than others like them.

    Sign: positive is proponent. Unit: none, a share of the output. Additive over examples.

    Source: Jacot et al. 2018, "Neural tangent kernel" (arXiv 1806.07572); outputs instead of losses as in Lin et al.
    2025 (arXiv 2410.18639); the same noise for all as in the code of Zheng et al. 2024 (arXiv 2311.00500).

    Returns:
        Scores; λ_l = c · tr(K_l) / min(N, p_l).

    Example:
        >>> import torch
        >>> tangent(FeaturePair(torch.eye(2), torch.tensor([[1.0, 0.0]]), widths=(1, 1)), 1.0).float()  # λ_l = 1
        tensor([[0.2500, 0.0000]])
    """
    layers = features.layers
    return reduce(torch.Tensor.add_, (layer.scores(damping) / len(layers) for layer in layers))


def tangent_squared(features: FeaturePair, damping: float) -> Tensor:
    """Tangent kernel regression, squared shares that keep their sign: S|S|, S as in `tangent`.

    The order of the examples of a query is that of `tangent`; sums over many examples are others. If the targets are
    random functions of the kernel's own covariance plus noise of variance λ, leaving out example n raises the expected
    squared error at query q by

        λ S_qn² / (1 - h_n),    h_n = [K (K + λI)⁻¹]_nn,

    which is the rise of the posterior variance. The first-order change, in proportion to S_qn, has the mean 0. So S² is
    what adds up to a change of the loss. λ is the same for all examples; 1 / (1 - h_n) is left out, because it did not
    help on the development pool of the digits. The sign of S is kept, so that opponents can be told from proponents.

    Sign: positive is proponent. Unit: none, a squared share of the output. A sum over examples neglects what two of
    them would lose together.

    Source: the posterior variance of Gaussian processes, Rasmussen & Williams 2006, "Gaussian processes for machine
    learning", eq. 2.26; squares as in Lin et al. 2025 (arXiv 2410.18639).

    Returns:
        Scores; λ_l as in `tangent`.

    Example:
        >>> import torch
        >>> tangent_squared(FeaturePair(torch.eye(2), torch.tensor([[1.0, -1.0]]), widths=(2,)), 1.0).float()
        tensor([[ 0.2500, -0.2500]])
    """
    shares = tangent(features, damping)
    return shares * shares.abs()


TANGENT = Method(
    "tangent",
    "Tangent kernel regression",
    "after Jacot et al. 2018, arXiv 1806.07572",
    tangent,
    readout="signs",
    shared=True,
    damping=2.0,
    has_ridge=True,
    behaviour="output of the network at the query, all its elements alike",
    inner=InnerProduct(layers=True),
)
TANGENT_SQUARED = replace(
    TANGENT,
    name="tangent-squared",
    title="Tangent kernel regression, squared shares",
    function=tangent_squared,
    damping=4.0,
    behaviour="squared error of the network's output at the query, all its elements alike",
    inner=InnerProduct(layers=True, squared=True),
)
