"""The tangents of a picture: how it changes with the weights of the members. This is differential ablation.

An ensemble predicts Σ_m w_m f_m(x, t) with w_m = 1/M. The tangents J_m = ∂x_0/∂w_m are computed through the whole
sampler by forward-mode automatic differentiation, together with the picture (Dai & Gifford 2024, arXiv 2406.07908):

    d output_k = f_k(x) + Σ_m w_m (∂f_m/∂x)(x) dx_k            for each direction k of the M
    dx_k ← the sampler's step of (dx_k, d output_k), without noise: unclipped, it is affine in both

Leaving members out is a change of the weights, so ΔX = Σ_m Δw_m J_m estimates every ablation. The weights change a lot
(from 1/M to 0 or 2/M) and a picture is not linear in them, so this is a first-order estimate of the ablation, which
`ablate` draws exactly. As Σ_m Δw_m = 0, the estimates of any number of units have rank M-1 at most: units with similar
code words get similar estimates, whatever their images show. The picture is drawn without clipping. If ᾱ_t is nearly
zero at the noisiest step, networks that predict "epsilon" may then draw a picture far from the clipped one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from whence.config import SamplerConfig
from whence.diffusion.denoiser import NO_CONDITIONS, denoise
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import picture_noise
from whence.engine import DEFAULT, Engine
from whence.ensemble.members import NetworkMembers
from whence.errors import NoSurvivorsError, NotFiniteError


def tangents(
    model: DiffusionModel,
    members: NetworkMembers,
    sampler: SamplerConfig,
    names: Sequence[tuple[int, int]],
    engine: Engine = DEFAULT,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
) -> tuple[Tensor, Tensor]:
    """Return pictures [n, C, H, W] by the mean of all members, unclipped, and their tangents [M, n, C, H, W]; float64.

    At each step a member is evaluated once on every picture and the M tangents are pushed through it together. So a
    picture costs M(M + 1) forward-mode evaluations per step. The last bits depend on which pictures are drawn together.
    The report is called with (sampling steps done, steps in all).

    Raises:
        NotFiniteError: A picture or a tangent is not finite.
    """
    sampler = unclipped(sampler)
    steps = model.process.sampling_steps(sampler.steps, sampler.method)
    x = picture_noise(names, 0, model.size, engine.device).double()
    rows = {name: tensor.to(engine.device) for name, tensor in conditions.items()}
    d = x.new_zeros(len(members.numbers), *x.shape)
    with torch.no_grad(), _forward_mode(members):
        for k, (t, s) in enumerate(steps):
            output, d_output = _mean(members, x, d, t, rows)
            noise = picture_noise(names, k + 1, model.size, x.device).double() if s >= 0 else None
            x = model.process.step(sampler, x, output, t, s, noise)
            d = model.process.step(sampler, d.flatten(0, 1), d_output.flatten(0, 1), t, s).reshape(d.shape)
            engine.report(k + 1, len(steps))
    for n, (seed, index) in enumerate(names):
        if not (torch.isfinite(x[n]).all() and torch.isfinite(d[:, n]).all()):
            raise NotFiniteError(
                f"Picture {seed}/{index}, drawn without clipping, or a tangent of it is not finite. "
                "`whence ensemble ablate` draws its counterfactuals with clipping."
            )
    return x.cpu(), d.cpu()


def weight_change(members: int, survivors: Sequence[int]) -> Tensor:
    """Return the change of the weights if only `survivors` draw: Δw_m = 1/|S| - 1/M in S, else -1/M; float64 [M].

    Raises:
        NoSurvivorsError: There are no survivors.
    """
    if not len(survivors):
        raise NoSurvivorsError(f"None of the {members} members is left to draw with.")
    change = torch.full((members,), -1 / members, dtype=torch.float64)
    change[list(survivors)] += 1 / len(survivors)
    return change


def unclipped(sampler: SamplerConfig) -> SamplerConfig:
    """Return the sampler without clipping at its steps, because clipped pixels have no tangent."""
    return sampler.model_copy(update={"clip": False})


def forward_evaluations(members: int, sampler: SamplerConfig) -> int:
    """Number of forward-mode evaluations for a picture: at every step M members, and M directions through each."""
    return sampler.steps * members * (members + 1)


def _mean(
    members: NetworkMembers, x: Tensor, d: Tensor, t: float, conditions: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean output [n, C, H, W] at x and its tangents [M, n, C, H, W] along d; members added in ascending order."""
    total, d_total = torch.zeros_like(x), torch.zeros_like(d)
    timesteps = torch.full((len(x),), t, device=x.device)
    for m, member in enumerate(members.numbers):
        output, pushed = _push(members.networks[member], x, d, timesteps, conditions)
        total += output / len(members.numbers)
        d_total += pushed / len(members.numbers)
        d_total[m] += output
    return total, d_total


def _push(
    network: nn.Module, x: Tensor, d: Tensor, t: Tensor, conditions: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """f(x) and (∂f/∂x) d_k for all k, float64. Only the tangents are batched, so f(x) is evaluated once."""

    def along(direction: Tensor) -> tuple[Tensor, Tensor]:
        pair = jvp(lambda y: denoise(network, y, t, **conditions), (x.float(),), (direction,))
        return pair[0], pair[1]

    value, tangent = vmap(along, out_dims=(None, 0))(d.float())  # type: ignore[arg-type]
    return value.double(), tangent.double()


@contextmanager
def _forward_mode(members: NetworkMembers) -> Iterator[None]:
    """Make forward mode possible: attention by plain arithmetic, and contiguous features for normalisations."""
    networks = {members.networks[member] for member in members.numbers}
    norms = {module for network in networks for module in network.modules() if isinstance(module, nn.GroupNorm)}
    handles = [norm.register_forward_pre_hook(lambda _norm, args: (args[0].contiguous(),)) for norm in norms]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for handle in handles:
            handle.remove()
