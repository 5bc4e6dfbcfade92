"""The step of the optimiser as a function of weights, moments and gradient, and its two exact derivatives.

With g the gradient of a step, η its learning rate, λ the weight decay, k the number of the step from 1 on and δ the
decay of the averaged weights a:

    g' = c g,  c = min(1, C / (‖g‖ + 1e-6))                            (clipping)
    m' = β₁ m + (1 - β₁) g',   v' = β₂ v + (1 - β₂) g'²                 (Kingma & Ba 2015, algorithm 1)
    θ' = (1 - η λ) θ - η / (1 - β₁ᵏ) · m' / (√(v' / (1 - β₂ᵏ)) + ε)     (Loshchilov & Hutter 2019, algorithm 2)
    a' = δ a + (1 - δ) θ'

All but the clipping acts on each weight by itself. Clipping is a multiple of the identity minus a matrix of rank one.
Where v' = 0 all gradients so far were 0, and the derivative of m' / (√v' + ε) by v' is taken as 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from whence.config import TrainingConfig
from whence.diffusion.loop import learning_rate

#: What is added to a norm before the gradient is divided by it, as in PyTorch.
NORM_EPSILON = 1e-6


@dataclass(frozen=True, eq=False)
class State:
    """The state of a run before a step; or its tangents or adjoints, which have a dimension before that of the weights.

    Attributes:
        weights: θ, [P] or [K, P].
        first: m, Adam's mean of the gradients.
        second: v, Adam's mean of their squares.
        average: a, the averaged weights.
    """

    weights: Tensor
    first: Tensor
    second: Tensor
    average: Tensor


@dataclass(frozen=True)
class Optimiser:
    """The optimiser of a run with these settings; steps are counted from 0.

    Example:
        >>> optimiser = Optimiser(TrainingConfig(learning_rate=0.1, warmup=0, weight_decay=0.0))
        >>> zero = torch.zeros(2)
        >>> optimiser.update(State(zero, zero, zero, zero), torch.tensor([0.3, -0.4]), 0).weights
        tensor([-0.1000,  0.1000])
    """

    config: TrainingConfig

    @cached_property
    def _averaging(self) -> EMAModel:
        return EMAModel([], decay=self.config.ema)

    def clips(self, gradient: Tensor) -> bool:
        """Whether a gradient [P] is clipped."""
        limit = self.config.clip_norm
        return bool(limit) and gradient.detach().norm().item() + NORM_EPSILON > limit

    def update(self, state: State, gradient: Tensor, step: int) -> State:
        """Return the state after a step with this gradient [P]."""
        beta1, beta2 = self.config.betas
        clipped = self._clip(gradient, gradient)
        first = beta1 * state.first + (1 - beta1) * clipped
        second = beta2 * state.second + (1 - beta2) * clipped.square()
        rate, kept, decay = self._rate(step), self._kept(step), self._decay(step)
        weights = kept * state.weights - rate * first / self._denominator(second, step)
        return State(weights, first, second, state.average + (1 - decay) * (weights - state.average))

    def push(self, tangent: State, d_gradient: Tensor, gradient: Tensor, after: State, step: int) -> State:
        """Return the tangents after a step, [K, P] each: the derivative of `update` times tangents.

        Args:
            tangent: Tangents of the state before the step.
            d_gradient: Tangents of the gradient, [K, P].
            gradient: The gradient, [P].
            after: The state after the step.
            step: The step.
        """
        beta1, beta2 = self.config.betas
        d_clipped = self._derived_clip(gradient, d_gradient)
        first = beta1 * tangent.first + (1 - beta1) * d_clipped
        second = beta2 * tangent.second + 2 * (1 - beta2) * self._clip(gradient, gradient) * d_clipped
        by_first, by_second = self._slopes(after, step)
        weights = self._kept(step) * tangent.weights + by_first * first + by_second * second
        decay = self._decay(step)
        return State(weights, first, second, decay * tangent.average + (1 - decay) * weights)

    def pull_back(self, adjoint: State, gradient: Tensor, after: State, step: int) -> tuple[State, Tensor]:
        """Return the adjoints before a step and those of its gradient, [K, P] each: `update` transposed.

        Those of the weights lack what comes through the gradient, which is the Hessian times the adjoint of it.

        Args:
            adjoint: Adjoints of the state after the step.
            gradient: The gradient, [P].
            after: The state after the step.
            step: The step.
        """
        beta1, beta2 = self.config.betas
        decay, (by_first, by_second) = self._decay(step), self._slopes(after, step)
        weights = adjoint.weights + (1 - decay) * adjoint.average
        first, second = adjoint.first + by_first * weights, adjoint.second + by_second * weights
        d_clipped = (1 - beta1) * first + 2 * (1 - beta2) * self._clip(gradient, gradient) * second
        before = State(self._kept(step) * weights, beta1 * first, beta2 * second, decay * adjoint.average)
        return before, self._derived_clip(gradient, d_clipped)

    def _rate(self, step: int) -> float:
        """η / (1 - β₁ᵏ)."""
        return learning_rate(self.config, step) / (1 - self.config.betas[0] ** (step + 1))

    def _kept(self, step: int) -> float:
        """1 - η λ."""
        return 1 - learning_rate(self.config, step) * self.config.weight_decay

    def _decay(self, step: int) -> float:
        """δ."""
        return float(self._averaging.get_decay(step + 1))

    def _denominator(self, second: Tensor, step: int) -> Tensor:
        """√(v' / (1 - β₂ᵏ)) + ε."""
        return second.sqrt() / math.sqrt(1 - self.config.betas[1] ** (step + 1)) + self.config.epsilon

    def _slopes(self, after: State, step: int) -> tuple[Tensor, Tensor]:
        """∂θ'/∂m' and ∂θ'/∂v', [P] each."""
        rate, denominator = self._rate(step), self._denominator(after.second, step)
        doubled = 2 * after.second.sqrt() * math.sqrt(1 - self.config.betas[1] ** (step + 1))
        ratio = torch.where(after.second > 0, after.first / doubled, 0.0)
        return -rate / denominator, rate * ratio / denominator.square()

    def _clip(self, gradient: Tensor, vector: Tensor) -> Tensor:
        """Return c times a vector."""
        if not self.clips(gradient):
            return vector
        factor: Tensor = self.config.clip_norm / (gradient.norm() + NORM_EPSILON)
        return factor * vector

    def _derived_clip(self, gradient: Tensor, vectors: Tensor) -> Tensor:
        """∂g'/∂g times vectors [K, P], a symmetric matrix: c (u - g ⟨g, u⟩ / (‖g‖ (‖g‖ + 1e-6))) where clipped."""
        if not self.clips(gradient):
            return vectors
        norm = gradient.norm()
        along = (vectors @ gradient / (norm * (norm + NORM_EPSILON))).unsqueeze(-1)
        return self._clip(gradient, vectors - along * gradient)
