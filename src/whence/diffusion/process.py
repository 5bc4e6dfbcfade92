"""A diffusion process: how examples are noised, what a network predicts of them, and the steps of a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from whence.config import SamplerConfig, SamplerMethod
from whence.diffusion.draws import Draws
from whence.errors import ConfigError


class Process(ABC):
    """A diffusion process. Only it knows its noise schedule; all other code asks it.

    x are clean examples [n, ...], t their timesteps [n], noise is standard normal [n, ...]; a result has the type of x.
    A timestep is what the network gets: int64 in 0 ... T-1, or of a flow float32 in (0, T].
    """

    @property
    @abstractmethod
    def timesteps(self) -> int:
        """Number T of timesteps."""

    @property
    @abstractmethod
    def prediction(self) -> str:
        """What the network predicts, by its name in diffusers."""

    @abstractmethod
    def noised(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t, the noised examples [n, ...]."""

    @abstractmethod
    def target(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """What the network should return for x_t [n, ...]."""

    @abstractmethod
    def clean(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x̂0, the clean examples that the network's output [n, ...] at x_t implies."""

    @abstractmethod
    def signal_level(self, t: Tensor) -> Tensor:
        """The example's share of the variance of x_t, for examples of variance 1; float64 [n], between 0 and 1."""

    @abstractmethod
    def elbo_weight(self, t: Tensor) -> Tensor:
        """w_t, the weight of the squared error of an output in the variational bound; float64 [n], without unit."""

    @abstractmethod
    def weight(self, t: Tensor) -> Tensor:
        """w_t, the weight of the squared error of an output in the loss of training; float64 [n], without unit."""

    def loss(self, output: Tensor, target: Tensor, t: Tensor) -> Tensor:
        """ℓ of each row, [n] in the type of the output: w_t times the mean over the elements of (output - target)²."""
        squares = (output - target).square().flatten(1).mean(1)
        return squares * self.weight(t.to(squares.device)).to(squares.dtype)

    @abstractmethod
    def draws(self, seed: int, *, shared: bool = False, antithetic: bool = False) -> Draws:
        """The draws of a seed: noise, and timesteps as often as training visits them."""

    @abstractmethod
    def sampling_steps(self, count: int, method: SamplerMethod) -> list[tuple[float, float]]:
        """The (t, s) of every step of a sampler, from the noisiest; the last s is -1, which has no noise."""

    @property
    @abstractmethod
    def samplers(self) -> tuple[SamplerMethod, ...]:
        """The samplers that draw by this process; the first one has noise at the start alone."""

    @abstractmethod
    def step(
        self, sampler: SamplerConfig, x: Tensor, output: Tensor, t: float, s: float, noise: Tensor | None = None
    ) -> Tensor:
        """x_s of x_t and the network's output, float64 [n, ...]; without `noise`, its mean."""

    @property
    @abstractmethod
    def not_followed(self) -> tuple[str, ...]:
        """Settings of the model's own scheduler that change what it draws and not what Whence draws."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """The settings of the process, for a manifest."""

    @property
    def clip_range(self) -> float:
        """Largest size of a value of a clean picture, for samplers that clip."""
        return 1.0

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 (hex) of the noise schedule and of settings that the loss depends on, for fingerprints."""

    @property
    @abstractmethod
    def stated(self) -> str:
        """What a reader of results should know of the loss that a score is about; empty if there is nothing to say."""

    def require_sampler(self, method: SamplerMethod) -> None:
        """Check that a sampler draws by this process; a `ConfigError` says which do."""
        if method not in self.samplers:
            raise ConfigError(
                f"The sampler is {method}, and the network predicts {self.prediction}; it draws by "
                f"{' or '.join(self.samplers)}. Give one of these: --sampler, or sampler.method in the settings."
            )

    def clean_picture(self, sampler: SamplerConfig, x: Tensor, output: Tensor, t: float) -> Tensor:
        """x̂0 as a step of the sampler uses it: clipped to the range of clean pictures if the sampler clips."""
        clean = self.clean(output, x, torch.full((len(x),), t, device=x.device))
        return clean.clamp(-self.clip_range, self.clip_range) if sampler.clip else clean
