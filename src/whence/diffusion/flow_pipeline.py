"""How pipelines of diffusers draw by a flow: at which times, and with which shift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler

from whence.errors import ConfigError
from whence.process_config import ProcessConfig

#: What is not said of the training of a flow: all times alike, no weights.
PLAIN = ProcessConfig(density="uniform", weighting="none", precondition=False)


def linear_mu(scheduler: Any, tokens: int, _steps: int) -> float:
    """Return μ of examples of so many tokens, on a line through the two points that a scheduler states."""
    config = scheduler.config
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    return float(config.base_shift + slope * (tokens - config.base_image_seq_len))


@dataclass(frozen=True)
class FlowPipeline:
    """How a pipeline draws by a flow, and how its family is trained.

    Attributes:
        trainer: The settings of the diffusers trainer of the family.
        even: Whether it draws at σ = 1, 1 - 1/K, ... 1/K before the shift; else between the ends of the scheduler's σ.
        patch: Height and width of a token in latents; the dynamic shift depends on the number of tokens.
        unshifted: Whether the trainer leaves σ as they are where the scheduler's shift is dynamic, or the scheduler is
            one of another class with flow sigmas: the trainer reads it as a FlowMatchEulerDiscreteScheduler, which does
            not know its ``flow_shift``.
        mu: From the scheduler, the number of tokens and that of steps to μ of a dynamic shift in a drawing.
    """

    trainer: ProcessConfig = PLAIN
    even: bool = False
    patch: int = 2
    unshifted: bool = False
    mu: Callable[[Any, int, int], float] = linear_mu

    def timesteps(self, scheduler: Any, count: int, tokens: int | None) -> list[float]:
        """Return t of every step of a drawing, from the noisiest, for examples of so many tokens.

        Raises:
            ConfigError: The shift is dynamic and the number of tokens is not known.
        """
        own = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config, shift=static_shift(scheduler))
        options: dict[str, Any] = {}
        if own.config.use_dynamic_shifting:
            if tokens is None:
                raise ConfigError("The shift of the scheduler depends on the size of examples, which is not known.")
            options["mu"] = self.mu(own, tokens, count)
        if self.even:
            options["sigmas"] = np.linspace(1.0, 1 / count, count)
        own.set_timesteps(count, **options)
        t: list[float] = own.timesteps.tolist()
        return t


def static_shift(scheduler: Any) -> float:
    """Return the shift of a scheduler that is a number, whatever its name; 1 is none."""
    config = scheduler.config
    shift = config.get("flow_shift") if config.get("use_flow_sigmas") else config.get("shift")
    return 1.0 if shift is None else float(shift)
