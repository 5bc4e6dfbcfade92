"""Which schedulers of diffusers describe a process that can be explained.

Schedulers differ in how they draw pictures. What a network was trained on is in three of their facts: ᾱ, the number of
timesteps and what is predicted. So DDIM, PNDM, DPM-Solver, Euler and others serve as well as DDPM, while
flow matching, variance exploding and EDM processes have no ᾱ and are refused.
"""

from __future__ import annotations

from typing import Any

import torch

from whence.errors import ModelError

PREDICTIONS = ("epsilon", "v_prediction", "sample")
_SUPPORTED = (
    "Supported are the schedulers of diffusers that noise as DDPM does, with alphas_cumprod (DDPM, DDIM, PNDM, "
    f"DPMSolver, UniPC, Euler, LMS, Heun, ...), and the prediction types {', '.join(PREDICTIONS)}."
)


def require_schedule(scheduler: Any) -> None:
    """Check that a scheduler says how examples were noised and what the network predicts.

    Args:
        scheduler: A scheduler of diffusers.

    Raises:
        ModelError: It doesn't, or not of a process x_t = √ᾱ_t x + √(1 - ᾱ_t) ε at the timesteps 0 ... T-1.

    Example:
        >>> from diffusers import FlowMatchEulerDiscreteScheduler, PNDMScheduler
        >>> require_schedule(PNDMScheduler())
        >>> require_schedule(FlowMatchEulerDiscreteScheduler())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        whence.errors.ModelError: FlowMatchEulerDiscreteScheduler has no alphas_cumprod...
    """
    problem = _problem(scheduler)
    if problem:
        raise ModelError(f"{type(scheduler).__name__} {problem}. {_SUPPORTED}")


def _problem(scheduler: Any) -> str:
    """What is wrong with a scheduler; empty if nothing is."""
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return "has no alphas_cumprod, so it is of another process than DDPM's"
    config = scheduler.config
    if config.get("use_flow_sigmas"):
        return "has use_flow_sigmas, so it is of a flow"
    if config.get("timestep_type", "discrete") != "discrete":
        return f"has timesteps of the type {config['timestep_type']!r}; expected discrete ones"
    if "prediction_type" not in config:
        return (
            "doesn't say what the network predicts; make a DDPMScheduler with its betas and the prediction type that "
            "the network was trained for"
        )
    if config["prediction_type"] not in PREDICTIONS:
        return f"has the prediction type {config['prediction_type']!r}"
    return _problem_of(torch.as_tensor(alphas).double(), config)


def _problem_of(alphas: torch.Tensor, config: Any) -> str:
    """What is wrong with ᾱ."""
    if len(alphas) != config["num_train_timesteps"]:
        return f"has {len(alphas)} values of ᾱ for num_train_timesteps = {config['num_train_timesteps']}"
    if not ((alphas >= 0) & (alphas < 1)).all() or (alphas.diff() > 0).any():
        return "has an ᾱ that doesn't fall from below 1 towards 0; look at its betas"
    if not alphas[-1] and config["prediction_type"] == "epsilon":
        return (
            "ends with ᾱ = 0 (rescale_betas_zero_snr), where predicted noise says nothing of the picture; a network "
            "for such a schedule predicts v_prediction or sample"
        )
    return ""
