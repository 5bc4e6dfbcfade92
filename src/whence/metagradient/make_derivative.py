"""The derivative of a run as an artefact: what it is made of, how it goes on after an interruption, and its cost.

On disk: ``derivative.safetensors`` with the tensors ``losses`` [Q] and ``derivative`` [Q, N], both float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.cost import Cost, median_seconds, peak_memory
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, one_thread, staged
from whence.errors import NotFiniteError
from whence.metagradient.query_losses import Results
from whence.metagradient.recorded_run import require_replayed
from whence.metagradient.replay import Replay
from whence.metagradient.reverse import Adjoints, KeptStates, boundaries, pull_back, pull_back_step, replay_to_end

KIND, FILE = "derivative", "derivative.safetensors"


@dataclass(frozen=True, eq=False)
class Derivative:
    """The derivative of the losses of queries by the weights of training examples.

    Attributes:
        values: ∂L_q/∂w_n at the weights of the run, float64 [Q, N]; loss per unit of weight.
        losses: L_q of the replayed model, float64 [Q].
        clipped: Share of the steps whose gradient was clipped.
        distance: Of the replayed averaged weights from those saved, relative to the norm of those saved.
    """

    values: Tensor
    losses: Tensor
    clipped: float
    distance: float


def make_derivative(
    path: Path,
    replay: Replay,
    queries: Results,
    saved: DiffusionModel,
    *,
    inputs: Mapping[str, Any],
    made: Mapping[str, Any],
    engine: Engine = DEFAULT,
) -> Derivative:
    """Make the derivative at `path` unless it is there, and return it; an interrupted call continues to the same bytes.

    The report of the engine is called with (work done, work in all).

    Args:
        path: Where the artefact is, or will be.
        replay: The run.
        queries: The losses of the queries, Q together, or of groups of them.
        saved: The model that the run saved.
        inputs: Fingerprints of what it is made from.
        made: The settings.
        engine: Its report is called while work goes on.

    Returns:
        The derivative.

    Raises:
        MismatchError: The replay does not end with the saved weights, or `path` holds something else.
        LockedError: Another process makes it.
        NotFiniteError: A loss or the derivative is not finite.
    """

    def build(part: Path) -> dict[str, Any]:
        with one_thread():
            return _build(part, replay, queries, saved, engine)

    manifest = artefacts.ensure(path, KIND, inputs=inputs, made=made, build=build)
    tensors, facts = artefacts.read_tensors(path / FILE), manifest.facts
    return Derivative(tensors["derivative"], tensors["losses"], facts["clipped"], facts["distance"])


def _build(part: Path, replay: Replay, queries: Results, saved: DiffusionModel, engine: Engine) -> dict[str, Any]:
    """Replay the run, check it and differentiate it, from where an earlier call was interrupted."""
    steps, each = replay.config.steps, 2 + 3 * len(queries)  # the work of a step backwards
    kept = KeptStates(part / artefacts.RESUME / "states")
    forwards, backwards = staged(engine, [steps, steps * each])
    end, clipped = replay_to_end(replay, kept, forwards.report)
    distance = require_replayed(replay, end.average, saved, "the run")
    state = artefacts.read_state(part)
    if state is None:
        adjoints = Adjoints.of_average(replay, queries.gradients(end.average))
    else:
        adjoints = Adjoints.from_tensors(*state, replay.start)
    derivative = pull_back(
        replay,
        kept,
        adjoints,
        lambda one: artefacts.write_state(part, one.step, one.tensors()),
        lambda done, of: backwards.report(done * each, of * each),
    )
    _require_finite(derivative, queries)
    losses = queries.values(end.average)
    artefacts.write_tensors(part / FILE, {"derivative": derivative.cpu(), "losses": losses.cpu()})
    return {"clipped": clipped / steps, "distance": distance}


def _require_finite(derivative: Tensor, queries: Results) -> None:
    """Raise NotFiniteError if the derivative [Q, N] of the loss of a query is not finite."""
    finite = derivative.isfinite().all(1)
    if not finite.all():
        bad = queries.names[int(finite.int().argmin())]
        raise NotFiniteError(
            f"The derivative of the loss of {bad!r} is not finite: adjoints "
            "grew beyond all bounds on the way back through the run. Train a run with a lower training.learning_rate."
        )


def derivative_cost(replay: Replay, queries: int) -> Cost:
    """Return the cost of the derivative of the losses of so many queries, by a few steps of each kind."""
    steps, weights, before = replay.config.steps, len(replay.start), replay.initial()

    def backward(count: int) -> float:
        """Seconds of a step of reverse mode for so many queries."""
        adjoints = replace(Adjoints.of_average(replay, torch.ones(count, weights).to(replay.start)), step=1)
        return median_seconds(lambda: pull_back_step(replay, before, after, adjoints), 3)

    with one_thread():
        after, _ = replay.step(before, 0)
        forward, one, two = median_seconds(lambda: replay.step(before, 0), 3), backward(1), backward(2)
    each = max(two - one, 0.0)
    seconds = steps * (2 * forward + one + each * (queries - 1))
    state, segments = 4 * weights * before.weights.element_size(), len(boundaries(steps))
    counted = "1 query" if queries == 1 else f"{queries:,} queries"
    return Cost(
        seconds,
        peak_memory() + state * (segments + 2 * queries),
        8 * queries * len(replay.weights),
        f"{seconds / (steps * forward):.1f} times the training ({steps:,} steps of {1000 * forward:.0f} ms), for the "
        f"derivative of {counted}; {state * (segments + 2 * queries):,} bytes of disk meanwhile",
    )
