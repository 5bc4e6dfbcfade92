"""The replay of a training run: its steps as pure functions of state and example weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from whence.config import TrainingConfig
from whence.diffusion.visits import Visits, VisitSource
from whence.engine import Report, silent
from whence.metagradient.optimiser import Optimiser, State
from whence.metagradient.weighted_loss import SecondOrder, WeightedLoss, flat


@dataclass(frozen=True, eq=False)
class Replay:
    """A run that can be done again with other weights of its examples, and differentiated.

    Attributes:
        loss: The weighted loss of a batch, of the model as it is at the beginning.
        source: What each step sees.
        weights: Weight w_n of each training example in the run, [N].
        start: The weights θ from which the run began, [P].

    Raises:
        NotFiniteError: From each step, where a loss is NaN or infinite.
    """

    loss: WeightedLoss
    source: VisitSource
    weights: Tensor
    start: Tensor

    @classmethod
    def of(cls, loss: WeightedLoss, source: VisitSource, weights: Tensor) -> Replay:
        """Return the replay of a run from the weights that the model has now."""
        start = flat([p.detach() for p in loss.parameters.values()]).clone()
        return cls(loss, source, weights.to(start), start)

    @property
    def config(self) -> TrainingConfig:
        """The settings of the run."""
        return self.source.config

    @cached_property
    def optimiser(self) -> Optimiser:
        """The optimiser of the run."""
        return Optimiser(self.config)

    def initial(self) -> State:
        """The state before the first step."""
        return State(self.start, torch.zeros_like(self.start), torch.zeros_like(self.start), self.start.clone())

    def step(self, state: State, step: int, weights: Tensor | None = None) -> tuple[State, bool]:
        """Return the state after a step with example weights [N], by default those of the run; and whether it clips."""
        visits = self.source(step)
        gradient = self.loss.gradient(state.weights, visits, self._weights(visits, weights))
        return self.optimiser.update(state, gradient, step), self.optimiser.clips(gradient)

    def second_order(self, state: State, step: int) -> tuple[SecondOrder, Tensor]:
        """Return the second derivatives of the loss of a step, and the rows [B] of the examples that it sees."""
        visits = self.source(step)
        return self.loss.second_order(state.weights, visits, self._weights(visits)), self._rows(visits)

    def end(self, weights: Tensor | None = None, report: Report = silent) -> State:
        """Return the state after the last step with example weights [N]; the report is called with (steps, in all)."""
        state = self.initial()
        for step in range(self.config.steps):
            state, _ = self.step(state, step, weights)
            report(step + 1, self.config.steps)
        return state

    def _rows(self, visits: Visits) -> Tensor:
        return torch.from_numpy(visits.rows).to(self.weights.device)

    def _weights(self, visits: Visits, weights: Tensor | None = None) -> Tensor:
        """Weights of the examples of a batch, [B]."""
        return (self.weights if weights is None else weights)[self._rows(visits)]
