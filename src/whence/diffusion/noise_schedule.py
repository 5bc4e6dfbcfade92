"""The noise schedule of the variance preserving process, as schedulers of diffusers state it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from whence.config import ModelConfig
from whence.errors import ConfigError
from whence.process_config import OPEN, ProcessConfig

#: What a network may predict, by its name in diffusers.
PREDICTIONS = ("epsilon", "v_prediction", "sample")
#: Which schedulers are of this process.
SUPPORTED = (
    "Supported are the schedulers of diffusers that noise as DDPM does, with alphas_cumprod (DDPM, DDIM, PNDM, "
    f"DPMSolver, UniPC, Euler, LMS, Heun, ...), and the prediction types {', '.join(PREDICTIONS)}."
)


def new_scheduler(config: ModelConfig, settings: ProcessConfig = OPEN) -> Any:
    """Return the scheduler of a new model; that of a flow draws with the shift of its training.

    Raises:
        ConfigError: The settings say the shift of a flow by μ, which belongs to a scheduler that is there already.
    """
    if config.is_flow:
        if settings.mu is not None:
            raise ConfigError("process.mu is for models with a dynamic shift. Give process.shift for a new network.")
        return FlowMatchEulerDiscreteScheduler(config.timesteps, shift=settings.shift or 1.0)
    return DDPMScheduler(
        num_train_timesteps=config.timesteps,
        beta_schedule=config.schedule,
        prediction_type=config.prediction,
        timestep_spacing="trailing",
    )


def schedule_problem(scheduler: Any) -> str:
    """Return why a scheduler is not of a variance preserving process; empty if it is."""
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
    return _problem_of_alphas(torch.as_tensor(alphas).double(), config)


def _problem_of_alphas(alphas: Tensor, config: Any) -> str:
    """What is wrong with ᾱ."""
    if alphas.dim() != 1 or len(alphas) != config["num_train_timesteps"]:
        return f"has {alphas.numel()} values of ᾱ for num_train_timesteps = {config['num_train_timesteps']}"
    if not ((alphas >= 0) & (alphas < 1)).all() or (alphas.diff() > 0).any():
        return "has an ᾱ that doesn't fall from below 1 towards 0; look at its betas"
    if not alphas[-1] and config["prediction_type"] == "epsilon":
        return (
            "ends with ᾱ = 0 (rescale_betas_zero_snr), where predicted noise says nothing of the picture; a network "
            "for such a schedule predicts v_prediction or sample"
        )
    return ""
