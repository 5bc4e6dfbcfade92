"""Forward mode through a replayed run: how the averaged weights change along some changes of the example weights.

With s_k the state before step k and s_{k+1} = step_k(s_k, w), the tangents along a change dw are ds_0 = 0 and

    ds_{k+1} = ∂step_k/∂s_k ds_k + ∂step_k/∂w dw

One pass for each dw, such as the weight of all images of a unit, serves any number of results. No state is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from whence.engine import Report, silent
from whence.metagradient.optimiser import State
from whence.metagradient.replay import Replay


def push(replay: Replay, d_weights: Tensor, report: Report = silent) -> tuple[Tensor, Tensor]:
    """Return the averaged weights at the end [P], and their tangents [K, P] along changes dw of example weights [K, N].

    The report is called with (steps done, steps in all).
    """
    d_weights = d_weights.to(replay.start)
    state, zero = replay.initial(), torch.zeros(len(d_weights), len(replay.start)).to(replay.start)
    tangent, steps = State(zero, zero, zero, zero), replay.config.steps
    for step in range(steps):
        state, tangent = push_step(replay, state, tangent, d_weights, step)
        report(step + 1, steps)
    return state.average, tangent.average


def push_step(replay: Replay, state: State, tangent: State, d_weights: Tensor, step: int) -> tuple[State, State]:
    """Return the state and its tangents after a step, from those before it; `d_weights` is dw [K, N]."""
    second_order, rows = replay.second_order(state, step)
    gradient = second_order.gradient
    d_gradient = second_order.push(tangent.weights, d_weights[:, rows])
    after = replay.optimiser.update(state, gradient, step)
    return after, replay.optimiser.push(tangent, d_gradient, gradient, after, step)
