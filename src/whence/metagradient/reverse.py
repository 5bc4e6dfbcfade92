"""Reverse mode through a replayed run: the derivative of some results by the weight of every training example.

With s_k the state before step k, s_{k+1} = step_k(s_k, w), and R(s_T) a result, the adjoints are ŝ_T = ∂R/∂s_T and

    ŝ_k = (∂step_k/∂s_k)ᵀ ŝ_{k+1},     ∂R/∂w = Σ_k (∂step_k/∂w)ᵀ ŝ_{k+1}

(Maclaurin et al. 2015, arXiv 1502.03492; Engstrom et al. 2025, arXiv 2503.13751, where it is called metagradient).
The states are kept before every √T-th step, and those between are computed again. So the work is two replays, and for
each step and result a second backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.engine import Report, silent
from whence.metagradient.optimiser import State
from whence.metagradient.replay import Replay

#: Names of the tensors of a state on disk.
NAMES = ("weights", "first", "second", "average")


def boundaries(steps: int) -> list[int]:
    """Return the steps before which the state is kept, and the number of steps.

    Example:
        >>> boundaries(10)
        [0, 4, 8, 10]
    """
    return [*range(0, steps, math.ceil(math.sqrt(steps))), steps]


@dataclass(frozen=True)
class KeptStates:
    """States of a run in a folder, each with the number of clipped steps before it."""

    folder: Path

    def write(self, step: int, state: State, clipped: int) -> None:
        """Keep the state before a step."""
        tensors = {name: getattr(state, name).cpu() for name in NAMES}
        artefacts.write_tensors(self._file(step), tensors | {"clipped": torch.tensor(clipped)})

    def read(self, step: int, like: Tensor) -> tuple[State, int]:
        """Return the state before a step, on the device of `like`, and the number of clipped steps before it."""
        tensors = artefacts.read_tensors(self._file(step))
        return State(**{name: tensors[name].to(like.device) for name in NAMES}), int(tensors["clipped"])

    def last(self, steps: Iterable[int]) -> int | None:
        """Return the last of some steps before which a state is kept; None if there is none."""
        return max((step for step in steps if self._file(step).is_file()), default=None)

    def _file(self, step: int) -> Path:
        return self.folder / f"{step:08d}.safetensors"


def replay_to_end(replay: Replay, kept: KeptStates, report: Report = silent) -> tuple[State, int]:
    """Return the state after the last step and the number of clipped steps; keeps the states at the boundaries.

    What an earlier call kept is not computed again. The report is called with (steps done, steps in all).
    """
    steps = replay.config.steps
    keep = set(boundaries(steps))
    first = kept.last(keep)
    if first is None:
        kept.write(0, replay.initial(), 0)
        first = 0
    state, clipped = kept.read(first, replay.start)
    for step in range(first, steps):
        state, clips = replay.step(state, step)
        clipped += clips
        if step + 1 in keep:
            kept.write(step + 1, state, clipped)
        report(step + 1, steps)
    return state, clipped


@dataclass(frozen=True, eq=False)
class Adjoints:
    """Where reverse mode is: before step `step`.

    Attributes:
        step: The step.
        state: Adjoints of the state before it, [Q, P] each.
        derivative: What the steps from there on add to ∂R/∂w, float64 [Q, N].
    """

    step: int
    state: State
    derivative: Tensor

    @classmethod
    def of_average(cls, replay: Replay, gradients: Tensor) -> Adjoints:
        """Return the adjoints after the last step, of results whose gradients by the averaged weights are [Q, P]."""
        zero = torch.zeros_like(gradients)
        derivative = torch.zeros(len(gradients), len(replay.weights), dtype=torch.float64, device=zero.device)
        return cls(replay.config.steps, State(zero, zero, zero, gradients), derivative)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, by name."""
        return {name: getattr(self.state, name).cpu() for name in NAMES} | {"derivative": self.derivative.cpu()}

    @classmethod
    def from_tensors(cls, step: int, tensors: dict[str, Tensor], like: Tensor) -> Adjoints:
        """Return what `tensors` returned, on the device of `like`."""
        on_device = {name: tensor.to(like.device) for name, tensor in tensors.items()}
        return cls(step, State(**{name: on_device[name] for name in NAMES}), on_device["derivative"])


def pull_back(
    replay: Replay,
    kept: KeptStates,
    adjoints: Adjoints,
    save: Callable[[Adjoints], None] = lambda _adjoints: None,
    report: Report = silent,
) -> Tensor:
    """Return ∂R/∂w of Q results, float64 [Q, N], from adjoints at a boundary.

    Args:
        replay: The run.
        kept: Its states at all boundaries.
        adjoints: The adjoints at a boundary: after the last step, or where an earlier call was interrupted.
        save: Called with the adjoints at every boundary.
        report: Called with (steps done, steps in all).
    """
    steps = replay.config.steps
    bounds = [bound for bound in boundaries(steps) if bound <= adjoints.step]
    for first, last in zip(reversed(bounds[:-1]), reversed(bounds[1:]), strict=True):
        states = segment(replay, kept, first, last)
        for step in reversed(range(first, last)):
            adjoints = pull_back_step(replay, states[step - first], states[step - first + 1], adjoints)
            report(steps - step, steps)
        save(adjoints)
    return adjoints.derivative


def segment(replay: Replay, kept: KeptStates, first: int, last: int) -> list[State]:
    """Return the states before the steps `first` to `last`; their averages, which nothing needs, are the first."""
    states = [kept.read(first, replay.start)[0]]
    for step in range(first, last):
        after, _ = replay.step(states[-1], step)
        states.append(replace(after, average=states[0].average))
    return states


def pull_back_step(replay: Replay, before: State, after: State, adjoints: Adjoints) -> Adjoints:
    """Return the adjoints before a step, from those after it."""
    step = adjoints.step - 1
    second_order, rows = replay.second_order(before, step)
    state, of_gradient = replay.optimiser.pull_back(adjoints.state, second_order.gradient, after, step)
    of_weights, of_examples = second_order.pull_back(of_gradient)
    derivative = adjoints.derivative.index_add(1, rows, of_examples.double())
    return Adjoints(step, replace(state, weights=state.weights + of_weights), derivative)
