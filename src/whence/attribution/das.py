"""DAS: the diffusion attribution score."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.inner_product import ExampleKernel, InnerProduct
from whence.attribution.method import Method
from whence.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


def residual(losses: Tensor | None, kernel: ExampleKernel, damping: float) -> Tensor:
    """Return ρ_n / (1 - h_n) of each example [n], float64; `das` has the formula.

    Raises:
        ConfigError: There are no losses, or the damping is so small that an example determines its fit alone.
    """
    if losses is None:
        raise ConfigError("DAS needs the mean loss of every example: give FeaturePair(..., losses=...).")
    remainder = 1 - kernel.leverage(damping)
    if (remainder < 1e-10).any():
        raise ConfigError(
            f"At damping {damping:g} example {int(remainder.argmin())} (from 0) has the leverage 1, so that DAS would "
            "divide by 0; use more damping."
        )
    return losses.double().sqrt() / remainder


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
        Scores; errors are those of `residual`.

    Example:
        >>> import torch
        >>> features = FeaturePair(torch.eye(2), torch.tensor([[1.0, -1.0]]), losses=torch.tensor([4.0, 1.0]))
        >>> das(features, 1.0).float()  # 1/2 · 2 / (1 - 1/2), -1/2 · 1 / (1 - 1/2)
        tensor([[ 2., -1.]])
    """
    factor = residual(features.losses, features.kernel, damping)
    return features.kernel.scores(damping).mul_(factor)


def das_squared(features: FeaturePair, damping: float) -> Tensor:
    """Return DAS, squared: (S_qn ρ_n / (1 - h_n))², as in the paper; `das` has the formula, source and traps.

    Sign: unsigned; large is a large effect in either direction. Unit: a squared residual, the mean squared change of
    the output. Squares don't add up over examples: the effect of a group is the square of a sum.
    """
    return das(features, damping).square_()


DAS = Method(
    "das",
    "Diffusion attribution score, linear",
    "Lin et al. 2025, arXiv 2410.18639",
    das,
    readout="mean",
    normalised=True,
    behaviour="mean output at the query",
    inner=InnerProduct(factor=residual),
)
DAS_SQUARED = replace(
    DAS,
    name="das-squared",
    title="Diffusion attribution score",
    function=das_squared,
    signed=False,
    additive=False,
    behaviour="squared change of the mean output at the query",
    inner=None,
)
