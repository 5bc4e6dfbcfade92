"""Flow matching: straight ways between clean examples and noise, from a scheduler of diffusers.

With x a clean example, ε standard normal noise and σ = t / T in (0, 1]:

    x_t = (1 - σ) x + σ ε
    target: dx_t / dσ = ε - x                   (Lipman et al. 2023, eq. 22 and 23; Esser et al. 2024, section 2)

The network gets t = T σ, as pipelines of diffusers pass it. One step of Euler's sampler goes from t to an earlier s:

    x_s = x_t + (σ_s - σ_t) · output            x̂0 = x_t - σ_t · output

It adds no noise, so a picture is a function of the noise at the start.

A scheduler says T and the shift of σ (`FlowTimes`). It does not say the density of the times, the weight of the loss,
nor a shift that depends on the size of pictures; these are in `ProcessConfig`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.config import SamplerConfig, SamplerMethod
from whence.diffusion.draws import Draws
from whence.diffusion.flow_pipeline import PLAIN, FlowPipeline, static_shift
from whence.diffusion.flow_times import FlowTimes
from whence.diffusion.process import Process
from whence.errors import ConfigError, ModelError
from whence.process_config import OF_VARIANCE_PRESERVING, OPEN, ProcessConfig

#: Settings that go on to `FlowTimes`.
OF_DENSITIES = ("logit_mean", "logit_std", "mode_scale")


@dataclass(frozen=True)
class FlowMatching(Process):
    """The process of a scheduler of flows, at timesteps t = T σ.

    Attributes:
        scheduler: A FlowMatchEulerDiscreteScheduler, or another one of diffusers with flow sigmas.
        settings: The settings of the training, those of `pipeline` where they are open.
        pipeline: How the pipeline draws.
        tokens: Number of tokens of an example, for dynamic shifts.

    Raises:
        ModelError: The scheduler is of another process, or its sigmas are inverted.
        ConfigError: The shift is dynamic and not said, or there are settings of another process.

    Example:
        >>> from diffusers import FlowMatchEulerDiscreteScheduler
        >>> process = FlowMatching(FlowMatchEulerDiscreteScheduler(shift=3.0))
        >>> x, noise, t = torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([750.0])
        >>> process.noised(x, t, noise), process.target(x, t, noise)
        (tensor([[0.7500, 0.7500]]), tensor([[1., 1.]]))
    """

    scheduler: Any
    settings: ProcessConfig = OPEN
    pipeline: FlowPipeline = FlowPipeline()
    tokens: int | None = None

    @staticmethod
    def fits(scheduler: Any) -> bool:
        """Whether a scheduler is of a flow."""
        config = getattr(scheduler, "config", {})
        predicted = config.get("use_flow_sigmas") and config.get("prediction_type") == "flow_prediction"
        return type(scheduler).__name__.startswith("FlowMatch") or bool(predicted)

    def __post_init__(self) -> None:
        if not self.fits(self.scheduler) or self.scheduler.config.get("invert_sigmas"):
            raise ModelError(
                f"{type(self.scheduler).__name__} is no scheduler of a flow from noise (σ = 1) to examples (σ = 0). "
                "Supported are FlowMatchEulerDiscreteScheduler and others of diffusers with flow sigmas."
            )
        self.settings.refuse(OF_VARIANCE_PRESERVING, "flow matching")
        self.times  # noqa: B018

    @cached_property
    def complete(self) -> ProcessConfig:
        """The settings with nothing left open but the shift."""
        return self.settings.completed(self.pipeline.trainer.completed(PLAIN))

    @cached_property
    def times(self) -> FlowTimes:
        """The timesteps of training and their density."""
        settings = self.complete.record()
        own = {name: settings[name] for name in OF_DENSITIES if name in settings}
        return FlowTimes(self.timesteps, self._shift, settings["density"], **own)

    @property
    def _shift(self) -> float:
        """The shift in training, as a number s; a dynamic one is exp(μ), or μ itself where it is linear.

        Nothing is applied when a scheduler with a dynamic shift is made, which trainers rely on.

        Raises:
            ConfigError: The shift is dynamic and not said.
        """
        config, settings = self.scheduler.config, self.complete
        if settings.mu is not None:
            return settings.mu if config.get("time_shift_type") == "linear" else math.exp(settings.mu)
        if settings.shift is not None:
            return settings.shift
        if self.pipeline.unshifted and (config.get("use_dynamic_shifting") or "shift" not in config):
            return 1.0
        if config.get("use_dynamic_shifting"):
            raise ConfigError(
                "The shift of the scheduler is dynamic, and it is not said how the training shifted its times. Give "
                "process.mu, or process.shift = 1 for none."
            )
        return static_shift(self.scheduler)

    @property
    def timesteps(self) -> int:
        """Number T of timesteps."""
        return int(self.scheduler.config.num_train_timesteps)

    @property
    def prediction(self) -> str:
        """``flow_prediction``, the velocity ε - x."""
        return "flow_prediction"

    def _sigma(self, t: Tensor) -> Tensor:
        """σ of timesteps, float64 [n]."""
        return t.double() / self.timesteps

    def _sigma_like(self, t: Tensor, like: Tensor) -> Tensor:
        """σ of timesteps [n], shaped to multiply `like` [n, ...]."""
        return self._sigma(t.to(like.device)).reshape(-1, *[1] * (like.dim() - 1)).to(like.dtype)

    def noised(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t, the noised examples [n, ...]."""
        sigma = self._sigma_like(t, x)
        return (1 - sigma) * x + sigma * noise

    def target(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """ε - x, [n, ...]."""
        return noise - x

    def clean(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x̂0 = x_t - σ · output, [n, ...]."""
        return x_t - self._sigma_like(t, x_t) * output

    def signal_level(self, t: Tensor) -> Tensor:
        """(1 - σ)² / ((1 - σ)² + σ²), float64 [n]."""
        sigma = self._sigma(t)
        return (1 - sigma).square() / ((1 - sigma).square() + sigma.square())

    def elbo_weight(self, t: Tensor) -> Tensor:
        """Return w_t = (1 - σ) / σ / T, float64 [n], for times that are spread evenly over σ.

        The bound is ∫ ½ (-dλ/dσ) ‖ε̂ - ε‖² dσ with λ = 2 log((1 - σ) / σ) (Kingma & Gao 2023, eq. 4). So the weight of
        an error of the noise is 1 / (σ (1 - σ)), and an error of the velocity is one of the noise, times 1 - σ.
        """
        sigma = self._sigma(t)
        return (1 - sigma) / sigma / self.timesteps

    def weight(self, t: Tensor) -> Tensor:
        """Return w_t, float64 [n]: 1, σ⁻² or 2 / (π (1 - 2σ + 2σ²)) by `weighting`, times σ² with `precondition`.

        These are the weights of diffusers' trainers; its `sigma_sqrt` is σ⁻². With `precondition` a trainer takes the
        error of x_t - σ · output as the clean example, which is σ times that of the velocity.
        """
        sigma = self._sigma(t)
        weights = {
            "none": torch.ones_like(sigma),
            "sigma_sqrt": sigma**-2,
            "cosmap": 2 / (math.pi * (1 - 2 * sigma + 2 * sigma.square())),
        }
        weight = weights[str(self.complete.weighting)]
        return weight * sigma.square() if self.complete.precondition else weight

    def draws(self, seed: int, *, shared: bool = False, antithetic: bool = False) -> Draws:
        """The draws of a seed, with timesteps as often as training visits them."""
        return Draws(seed, self.timesteps, shared, antithetic, self.times, self.settings.noise_offset or 0.0)

    @property
    def samplers(self) -> tuple[SamplerMethod, ...]:
        """Euler's method alone."""
        return ("euler",)

    def sampling_steps(self, count: int, method: SamplerMethod = "euler") -> list[tuple[float, float]]:
        """Return the (t, s) of every step, at the σ of the pipeline; the last s is -1.

        Raises:
            ConfigError: The sampler is another than Euler's, or the shift is dynamic and the size of examples is not
                known.
        """
        self.require_sampler(method)
        t = self.pipeline.timesteps(self.scheduler, count, self.tokens)
        return list(zip(t, [*t[1:], -1.0], strict=True))

    def step(
        self, sampler: SamplerConfig, x: Tensor, output: Tensor, t: float, s: float, noise: Tensor | None = None
    ) -> Tensor:
        """x_s of x_t and the network's output, float64 [n, ...]."""
        sigma_t, sigma_s = t / self.timesteps, max(s, 0.0) / self.timesteps
        clean = self.clean_picture(sampler, x, output, t)
        return x + (sigma_s - sigma_t) * (x - clean) / sigma_t

    @property
    def not_followed(self) -> tuple[str, ...]:
        """Settings of the scheduler that change what it draws and not what Whence draws."""
        name, config = type(self.scheduler).__name__, self.scheduler.config
        settings = ["stochastic_sampling = True"] if config.get("stochastic_sampling") else []
        return (*settings, *([f"the solver of {name}"] if name != "FlowMatchEulerDiscreteScheduler" else []))

    def record(self) -> dict[str, Any]:
        """Timesteps, prediction and all settings."""
        settings = self.complete.record() | self.times.record()
        return {"timesteps": self.timesteps, "prediction": self.prediction, **settings}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the times and the settings."""
        return artefacts.digest([artefacts.digest(self.times.table.numpy().tobytes()), self.record()])

    @property
    def stated(self) -> str:
        """Density, shift, weight and guidance."""
        record = self.record()
        return ", ".join(
            f"{name} = {value}" for name, value in record.items() if name not in ("timesteps", "prediction")
        )
