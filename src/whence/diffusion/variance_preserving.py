"""The variance preserving process of DDPM, from a scheduler of diffusers.

With ᾱ_t the cumulative product of the schedule, x a clean example and ε standard normal noise:

    x_t = √ᾱ_t x + √(1 - ᾱ_t) ε                      (Ho et al. 2020, eq. 4)
    target: ε,  x,  or  v = √ᾱ_t ε - √(1 - ᾱ_t) x    (Salimans & Ho 2022, appendix D)

One step of a sampler goes from timestep t to an earlier s. With x̂0 the predicted clean example (clipped if the sampler
clips) and ε̂ = (x_t - √ᾱ_t x̂0) / √(1 - ᾱ_t):

    σ²  = η² (1 - ᾱ_s) / (1 - ᾱ_t) · (1 - ᾱ_t / ᾱ_s)
    x_s = √ᾱ_s x̂0 + √(1 - ᾱ_s - σ²) ε̂ + σ ξ          (Song et al. 2021, eq. 12 and 16)

η = 1 is ancestral sampling (Ho et al. 2020, eq. 6 and 7), η = 0 is DDIM.

A scheduler says what a network was trained on by ᾱ, the number of timesteps and what is predicted. So DDIM, PNDM,
DPM-Solver, Euler and others serve as well as DDPM. Flow matching, variance exploding and EDM processes have no ᾱ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from whence import artefacts
from whence.config import SamplerConfig, SamplerMethod
from whence.diffusion.draws import Draws
from whence.diffusion.noise_schedule import SUPPORTED, schedule_problem
from whence.diffusion.process import Process
from whence.errors import ConfigError, ModelError
from whence.process_config import OF_FLOWS, OPEN, ProcessConfig


@dataclass(frozen=True)
class VariancePreserving(Process):
    """The process of a scheduler of diffusers, at the timesteps 0 ... T-1.

    Only ᾱ and the configuration of the scheduler are used.

    Attributes:
        scheduler: The scheduler.
        settings: Min-SNR weights and the offset of the noise of the training.

    Raises:
        ModelError: The scheduler is of another process.
        ConfigError: There are settings of another process.

    Example:
        >>> from diffusers import PNDMScheduler
        >>> process = VariancePreserving(PNDMScheduler())
        >>> process.timesteps, process.prediction
        (1000, 'epsilon')
    """

    scheduler: Any
    settings: ProcessConfig = OPEN

    def __post_init__(self) -> None:
        self.settings.refuse(OF_FLOWS, "variance preserving")
        problem = schedule_problem(self.scheduler)
        if problem:
            raise ModelError(f"{type(self.scheduler).__name__} {problem}. {SUPPORTED}")

    @property
    def timesteps(self) -> int:
        """Number T of timesteps; t is in 0 ... T-1."""
        return int(self.scheduler.config.num_train_timesteps)

    @property
    def prediction(self) -> str:
        """What the network predicts: ``epsilon``, ``v_prediction`` or ``sample``."""
        return str(self.scheduler.config.prediction_type)

    @cached_property
    def _alphas(self) -> Tensor:
        """ᾱ of every timestep, float64 [T]."""
        return torch.as_tensor(self.scheduler.alphas_cumprod).double()

    def _signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1-ᾱ_t), shaped to multiply `like` [n, ...]."""
        alpha = self.signal_level(t.to(like.device)).reshape(-1, *[1] * (like.dim() - 1))
        return alpha.sqrt().to(like.dtype), (1 - alpha).sqrt().to(like.dtype)

    def noised(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t, the noised examples [n, ...]."""
        a, s = self._signal_and_noise(t, x)
        return a * x + s * noise

    def target(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """What the network should return for x_t [n, ...]."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x
        a, s = self._signal_and_noise(t, x)
        return a * noise - s * x

    def clean(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x̂0, the clean examples that the network's output [n, ...] at x_t implies."""
        if self.prediction == "sample":
            return output
        a, s = self._signal_and_noise(t, x_t)
        return (x_t - s * output) / a if self.prediction == "epsilon" else a * x_t - s * output

    def signal_level(self, t: Tensor) -> Tensor:
        """ᾱ_t, float64 [n]."""
        return self._alphas.to(t.device)[t]

    def elbo_weight(self, t: Tensor) -> Tensor:
        """Return w_t of timesteps [n], float64 [n]: the weight of ‖o - y‖² in the variational bound.

        For a network that predicts the noise, with σ_t² = β_t (Ho et al. 2020, eq. 12):

            w_t = β_t / (2 α_t (1 - ᾱ_t)),    α_t = 1 - β_t = ᾱ_t / ᾱ_{t-1}

        An error e of a predicted velocity is an error √ᾱ_t e of the noise, one of a predicted clean example an error
        √(ᾱ_t / (1 - ᾱ_t)) e. So w_t is multiplied by ᾱ_t or by ᾱ_t / (1 - ᾱ_t).
        """
        bar = self._alphas.to(t.device)
        before = torch.cat([torch.ones_like(bar[:1]), bar[:-1]])
        weight = (1 - bar / before) / (2 * (1 - bar))
        # ᾱ_t / α_t = ᾱ_{t-1}, which unlike ᾱ_t is never 0.
        factor = {"epsilon": before / bar, "v_prediction": before, "sample": before / (1 - bar)}[self.prediction]
        return (weight * factor)[t]

    def draws(self, seed: int, *, shared: bool = False, antithetic: bool = False) -> Draws:
        """The draws of a seed, with all timesteps equally often."""
        return Draws(seed, self.timesteps, shared, antithetic, offset=self.settings.noise_offset or 0.0)

    def weight(self, t: Tensor) -> Tensor:
        """Return w_t, float64 [n]: 1, or the min-SNR weight of Hang et al. 2023 (eq. 7) with γ and SNR = ᾱ / (1 - ᾱ).

        w_t = min(SNR, γ) / SNR of ε,    min(SNR, γ) / (SNR + 1) of v,    min(SNR, γ) of x
        """
        gamma, alpha = self.settings.snr_gamma, self.signal_level(t)
        if gamma is None:
            return torch.ones_like(alpha)
        most = (gamma * (1 - alpha)).minimum(alpha)  # min(SNR, γ) (1 - ᾱ)
        divisor = {"epsilon": alpha, "v_prediction": torch.ones_like(alpha), "sample": 1 - alpha}[self.prediction]
        return most / divisor

    @property
    def samplers(self) -> tuple[SamplerMethod, ...]:
        """DDIM and ancestral sampling."""
        return "ddim", "ddpm"

    def sampling_steps(self, count: int, method: SamplerMethod = "ddpm") -> list[tuple[float, float]]:
        """Return the (t, s) of every step of a sampler, spaced as the scheduler says; the last s is -1.

        Ancestral sampling goes to the next t. DDIM goes to s = t - T // count, as the scheduler of diffusers does. That
        is the next t where `count` divides T; otherwise it may be a few timesteps from it, and the last s may be 0.

        Raises:
            ConfigError: There are fewer timesteps, or the sampler is of flows.
        """
        self.require_sampler(method)
        if count > self.timesteps:
            raise ConfigError(
                f"{count} sampling steps were asked for; the model has {self.timesteps} timesteps. Ask for at most as "
                "many: the option of the sampler's steps, or sampler.steps in the file of --config."
            )
        config = self.scheduler.config
        scheduler = DDPMScheduler(
            num_train_timesteps=self.timesteps,
            timestep_spacing=config.get("timestep_spacing", "leading"),
            steps_offset=config.get("steps_offset", 0),
        )
        scheduler.set_timesteps(count)
        t = [int(step) for step in scheduler.timesteps]
        if t[0] >= self.timesteps:
            raise ConfigError(
                f"{count} sampling steps with steps_offset = {config['steps_offset']} start after the last of the "
                f"model's {self.timesteps} timesteps; ask for fewer."
            )
        if method == "ddim":
            return [(step, max(-1, step - self.timesteps // count)) for step in t]
        return list(zip(t, [*t[1:], -1], strict=True))

    def step(
        self, sampler: SamplerConfig, x: Tensor, output: Tensor, t: float, s: float, noise: Tensor | None = None
    ) -> Tensor:
        """x_s of x_t and the network's output, float64 [n, ...]; without `noise`, its mean."""
        a_t, a_s = self._alphas[int(t)].item(), self._alphas[int(s)].item() if s >= 0 else self._last
        clean = self.clean_picture(sampler, x, output, t)
        residual = (x - a_t**0.5 * clean) / (1 - a_t) ** 0.5
        eta = 1.0 if sampler.method == "ddpm" else 0.0
        variance = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
        mean: Tensor = a_s**0.5 * clean + max(0.0, 1 - a_s - variance) ** 0.5 * residual
        return mean if noise is None else mean + variance**0.5 * noise

    @cached_property
    def _last(self) -> float:
        """ᾱ after the last step: 1, or that of timestep 0 if the scheduler sets ``set_alpha_to_one=False``."""
        return 1.0 if self.scheduler.config.get("set_alpha_to_one", True) else self._alphas[0].item()

    @property
    def clip_range(self) -> float:
        """Largest size of a value of a clean picture, for samplers that clip."""
        return float(self.scheduler.config.get("clip_sample_range") or 1.0)

    @property
    def not_followed(self) -> tuple[str, ...]:
        """Settings of the scheduler that change what it draws and not what Whence draws."""
        config, name = self.scheduler.config, type(self.scheduler).__name__
        settings = [f"thresholding = {config['thresholding']}"] if config.get("thresholding") else []
        if config.get("variance_type", "fixed_small") not in ("fixed_small", "fixed_small_log"):
            settings.append(f"variance_type = {config['variance_type']!r}")
        return (*settings, *([f"the solver of {name}"] if name not in ("DDPMScheduler", "DDIMScheduler") else []))

    def record(self) -> dict[str, Any]:
        """Timesteps, prediction and settings that are not open."""
        return {"timesteps": self.timesteps, "prediction": self.prediction, **self.settings.record()}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of ᾱ, and of settings that are not open."""
        schedule, settings = artefacts.digest(self._alphas.numpy().tobytes()), self.settings.record()
        return artefacts.digest([schedule, settings]) if settings else schedule

    @property
    def stated(self) -> str:
        """The settings that are not open."""
        return ", ".join(f"{name} = {value}" for name, value in self.settings.record().items())
