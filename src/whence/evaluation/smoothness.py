"""Metasmoothness: how far the derivative of a run by the weights of its examples predicts finite changes of them.

For S random subsets of the training examples the weights w_n of a subset are multiplied by 1 - h. The predicted change
of the loss of query q is the derivative along that change of the weights, of the measured one the run is replayed:

    x_sq = Σ_n ∂L_q/∂w_n Δw_sn,    y_sq = L_q(a_T(w + Δw_s)) - L_q(a_T(w)),    Δw_sn = -h w_n in the subset, else 0

They are compared as in `whence.evaluation.prediction.calibration`. h = 1 leaves the subset out. Training is called
metasmooth where the derivative serves for finite steps (Engstrom et al. 2025, arXiv 2503.13751, who measure it by other
numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from whence.cost import Cost, median_seconds, peak_memory
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, one_thread, staged
from whence.errors import ConfigError
from whence.evaluation.prediction.calibration import Calibration, calibration
from whence.metagradient.forward import push, push_step
from whence.metagradient.optimiser import State
from whence.metagradient.query_losses import QueryLosses
from whence.metagradient.recorded_run import require_replayed
from whence.metagradient.replay import Replay


@dataclass(frozen=True, eq=False)
class Smoothness:
    """Predicted and measured changes of the losses of Q queries for S subsets, float64 [S, Q]; positive: it rises."""

    predicted: np.ndarray
    measured: np.ndarray

    @cached_property
    def fit(self) -> Calibration:
        """Slope and R² of measured against predicted changes."""
        return calibration(self.predicted, self.measured)

    @property
    def correlation(self) -> float:
        """The correlation of predicted and measured changes of all queries together, around their means."""
        x, y = (values - values.mean(0) for values in (self.predicted, self.measured))
        return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def changes(weights: Tensor, subsets: int, share: float, change: float, seed: int = 0) -> Tensor:
    """Return Δw for random subsets of a share of the examples, [S, N].

    Raises:
        ConfigError: There are fewer than 3 subsets, a share has no or all examples, or the change is not in (0, 1].

    Example:
        >>> changes(torch.ones(4), 3, 0.25, 0.02).sum(1)
        tensor([-0.0200, -0.0200, -0.0200])
    """
    count = round(share * len(weights))
    if subsets < 3 or not 0 < count < len(weights) or not 0 < change <= 1:
        raise ConfigError(
            f"Given {subsets} subsets of {count} of {len(weights)} examples and a change of {change:g}; expected at "
            "least 3 subsets, of some examples and not all, and a change above 0, at most 1."
        )
    generator, delta = torch.Generator().manual_seed(seed), torch.zeros(subsets, len(weights))
    for row in delta:
        row[torch.randperm(len(weights), generator=generator)[:count]] = -change
    return delta.to(weights) * weights


def smoothness(
    replay: Replay, queries: QueryLosses, delta: Tensor, engine: Engine = DEFAULT, saved: DiffusionModel | None = None
) -> Smoothness:
    """Return predicted and measured changes of the losses of queries along changes of the weights [S, N].

    The report is called with (work done, work in all).

    Raises:
        NotFiniteError: A loss is not finite.
        MismatchError: The replay does not end with the weights of the `saved` model of the run, if it is given.
    """
    steps, pushed = replay.config.steps, 1 + 3 * len(delta)
    forward, *replays = staged(engine, [steps * pushed, *[steps] * len(delta)])
    with one_thread():
        average, tangents = push(replay, delta, lambda done, of: forward.report(done * pushed, of * pushed))
        if saved is not None:
            require_replayed(replay, average, saved, "the run")
        before = queries.values(average)
        predicted = tangents.double() @ queries.gradients(average).double().T
        ends = (replay.end(replay.weights + row, stage.report) for row, stage in zip(delta, replays, strict=True))
        measured = [queries.values(end.average) - before for end in ends]
    return Smoothness(predicted.cpu().numpy(), torch.stack(measured).cpu().numpy())


def smoothness_cost(replay: Replay, subsets: int) -> Cost:
    """Return the cost of `smoothness` of so many subsets, by a few steps."""
    state, weights, steps = replay.initial(), len(replay.start), replay.config.steps

    def forward(count: int) -> float:
        """Seconds of a step of forward mode for so many subsets."""
        zero = torch.zeros(count, weights).to(replay.start)
        d_weights = torch.ones(count, len(replay.weights)).to(replay.start)
        return median_seconds(lambda: push_step(replay, state, State(zero, zero, zero, zero), d_weights, 0), 3)

    with one_thread():
        replayed, one, two = median_seconds(lambda: replay.step(state, 0), 3), forward(1), forward(2)
    seconds = steps * (subsets * replayed + one + (subsets - 1) * max(two - one, 0.0))
    return Cost(
        seconds,
        peak_memory() + 8 * subsets * weights * replay.start.element_size(),
        0,
        f"{seconds / (steps * replayed):.1f} times the training ({steps:,} steps of {1000 * replayed:.0f} ms): forward "
        f"mode along {subsets:,} changes of the weights, and as many replays",
    )
