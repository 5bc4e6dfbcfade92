"""Methods that solve with the kernel of the features: the tangent kernel, TRAK, DAS, and TRAK by a norm.

They return scores float64 [Q, N]. λ = c · tr(ΦᵀΦ) / min(N, p), with c the damping.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.method import Method
from whence.errors import ConfigError
from whence.kernel.algebra import divided


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
    return reduce(Tensor.add_, (layer.scores(damping) / len(layers) for layer in layers))


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


def das(features: FeaturePair, damping: float) -> Tensor:
    """DAS, linear: S_qn · ρ_n / (1 - h_n) with S as in TRAK, ρ_n = √(mean loss of n) and h_n the leverage of n.

    The features are of a readout of the output itself, its mean or its mean squared norm. For a linear model f = φᵀθ
    fitted by ridge regression with residuals r_n, leaving out n changes f at q by exactly S_qn r_n / (1 - h_n) (Sherman
    & Morrison), and |r_n| = ρ_n. For a network it is one Newton step. The method `DAS` divides every draw's features by
    their norm, as the authors' code does; the statement above is about features that were not divided.

    Sign: that of S, positive is proponent; the sign of the residual is lost in the loss, so it says whether the outputs
    of q and n move together, not which way. Unit: that of a residual.

    Source: Lin et al. 2025, "Diffusion attribution score" (arXiv 2410.18639), with one scalar for the output. The code
    released with it takes leverages from the queries' matrix, squares 1 - h, and divides residuals by their norm over
    timesteps, which leaves them nearly constant.

    Returns:
        Scores.

    Raises:
        ConfigError: There are no losses, or the damping is so small that an example determines its fit alone.

    Example:
        >>> import torch
        >>> features = FeaturePair(torch.eye(2), torch.tensor([[1.0, -1.0]]), losses=torch.tensor([4.0, 1.0]))
        >>> das(features, 1.0).float()  # 1/2 · 2 / (1 - 1/2), -1/2 · 1 / (1 - 1/2)
        tensor([[ 2., -1.]])
    """
    if features.losses is None:
        raise ConfigError("DAS needs the mean loss of every example: give FeaturePair(..., losses=...).")
    remainder = 1 - features.kernel.leverage(damping)
    if (remainder < 1e-10).any():
        raise ConfigError(
            f"At damping {damping:g} example {int(remainder.argmin())} (from 0) has the leverage 1, so that DAS would "
            "divide by 0; use more damping."
        )
    return features.kernel.scores(damping).mul_(features.losses.double().sqrt() / remainder)


def das_squared(features: FeaturePair, damping: float) -> Tensor:
    """Return DAS, squared: (S_qn ρ_n / (1 - h_n))², as in the paper; `das` has the formula, source and traps.

    Sign: unsigned; large is a large effect in either direction. Unit: a squared residual, the mean squared change of
    the output. Squares don't add up over examples: the effect of a group is the square of a sum.
    """
    return das(features, damping).square_()


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


TANGENT = Method(
    "tangent",
    "Tangent kernel regression",
    "after Jacot et al. 2018, arXiv 1806.07572",
    tangent,
    readout="signs",
    shared=True,
    damping=2.0,
    behaviour="output of the network at the query, all its elements alike",
)
TRAK = Method("trak", "TRAK", "Park et al. 2023, arXiv 2303.14186", trak)
D_TRAK = Method(
    "d-trak",
    "D-TRAK",
    "Zheng et al. 2024, arXiv 2311.00500",
    trak,
    readout="squared-norm",
    behaviour="squared norm of the output at the query, in place of its loss",
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
DAS = Method(
    "das",
    "Diffusion attribution score, linear",
    "Lin et al. 2025, arXiv 2410.18639",
    das,
    readout="mean",
    normalised=True,
    behaviour="mean output at the query",
)
DAS_SQUARED = replace(
    DAS,
    name="das-squared",
    title="Diffusion attribution score",
    function=das_squared,
    signed=False,
    additive=False,
    behaviour="squared change of the mean output at the query",
)
RELATIVE_IF = Method(
    "relative-if",
    "Relative influence",
    "Barshan et al. 2020, arXiv 2003.11630",
    relative_influence,
    additive=False,
)
RENORMALISED_IF = Method(
    "renormalised-if",
    "Renormalised influence",
    "Hammoudeh & Lowd 2022, arXiv 2201.10055",
    renormalised_influence,
    additive=False,
)
