"""Reverse gradient matching: what a query's loss does when a synthetic element undoes the training on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence import artefacts
from whence.attribution.metagradient import open_replay_of
from whence.attribution.run_method import RunMethod
from whence.lazy import torch
from whence.seeds import derived_seed

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from whence.attribution.request import AttributionRequest
    from whence.cost import Cost
    from whence.engine import Engine
    from whence.metagradient.query_losses import QueryLosses
    from whence.metagradient.replay import Replay
    from whence.metagradient.synset import Matching, Synset
    from whence.scores.scores import Scores

#: Draws and steps of the matching; training images of a cluster on average; batches whose gradients are averaged.
DRAWS, STEPS, MEMBERS, AVERAGED = 16, 40, 25, 32


def reverse_gradient(request: AttributionRequest, store: Path, engine: Engine) -> Scores:
    """Reverse gradient matching: S_qk = (L_q(θ + δ u_k) - L_q(θ)) / δ, u_k = |k| / N · a_k ∇ℓ(x_k; θ) / (√v + ε).

    θ are the averaged weights at the end of a recorded run. x_k is a synthetic element for each cluster k of training
    examples: gradients ∇ℓ(x_k; θ_c) are matched, by their cosines, with the mean gradients of the cluster's examples at
    the checkpoints θ_c and at θ, at draws that all share. a_k is the length of the cluster's gradient along that of the
    element. A step up the element's loss undoes training on its cluster; v, the mean of the squared gradients of the
    last batches, stands for AdamW's second moment, and ε is AdamW's. δ is the learning rate of the run.

    The clusters are the units of the data. Where every example is a unit, they are by Ward linkage, 25 examples each on
    average. Every example of a cluster has the same share of S_qk, so its scores add up to it.

    Sign: positive is proponent; the step raises the loss of q. Unit: loss for each unit of learning rate. Additive over
    examples of a cluster. It is of first order in the step, and of the loss alone: that a run would recover without the
    cluster is not in it.

    Source: Ye et al. 2024, "Distilled datamodel with reverse gradient matching" (arXiv 2404.14006), for classifiers.
    Only its idea is known here: clusters, matching in reverse, and a step; the formulas are of this project.

    Args:
        request: What is attributed to what.
        store: Folder for the elements, which are found again there.
        engine: Where work runs; its report is called with (clusters done, clusters in all).

    Returns:
        Scores without standard errors.

    Raises:
        ConfigError: The model is not one recorded run, or only some of its parameters are differentiated.
        ArtefactError, MismatchError, ModelError: The run has no record or no checkpoints, or can't be differentiated.
        NotFiniteError: A loss is not finite.
    """
    from whence.metagradient.synset import make_synset
    from whence.scores.scores import Estimand, Scores

    replay, queries = open_replay_of(request, engine, REVERSE_GRADIENT.title)
    matching = matching_of(request, replay)
    made = {"seed": request.config.seed, "clusters": {name: rows.tolist() for name, rows in matching.clusters.items()}}
    inputs = {name: print_ for name, print_ in request.inputs.items() if name != "queries"}
    place = store / f"synset-{artefacts.digest([inputs, made])[:12]}"
    synset = make_synset(place, matching, inputs, made, engine)
    columns = _shared_changes(replay, queries, matching, synset)
    return Scores(
        scores=columns.float(),
        queries=request.queries.ids,
        examples=request.examples.ids,
        units=request.units,
        method=REVERSE_GRADIENT.name,
        estimand=Estimand(
            REVERSE_GRADIENT.behaviour,
            "a step that undoes training on a cluster of examples, shared evenly among them",
            "this very run",
            request.target.fingerprint,
            "example",
        ),
        sign="positive is proponent",
        combine="sum",
        draws=request.config.draws,
    )


def _shared_changes(replay: Replay, queries: QueryLosses, matching: Matching, synset: Synset) -> Tensor:
    """Return the S_qk of the clusters in even shares of their examples, float64 [Q, N]."""
    theta, step = matching.weights[-1], replay.config.learning_rate or 0.0
    scale, before = gradient_scale(replay, theta), queries.values(theta)
    columns = torch.zeros(len(queries), len(matching.examples), dtype=torch.float64)
    for k, rows in enumerate(matching.clusters.values()):
        direction = undoing(matching, int(synset.medoids[k]), synset.elements[k], synset.sizes[k], rows, scale)
        change = (queries.values(theta + step * direction) - before) / step
        columns[:, torch.from_numpy(rows)] += change.cpu()[:, None] / len(rows)
    return columns


def undoing(matching: Matching, medoid: int, x: Tensor, size: Tensor, rows: np.ndarray, scale: Tensor) -> Tensor:
    """Return u_k, the direction that undoes a cluster of these rows, [P]."""
    from whence.metagradient.synset import gradient_of

    share = len(rows) / len(matching.examples)
    return share * size * gradient_of(matching, medoid, x.to(scale)) / scale


def matching_of(request: AttributionRequest, replay: Replay) -> Matching:
    """Return whose gradients are matched, and at which weights: those of the checkpoints, and those of the end."""
    from whence.attribution.model_folder import run_folder
    from whence.attribution.weighted_checkpoint import checkpoint_files
    from whence.gradients.draw_sources import OwnDraws
    from whence.metagradient.synset import Matching
    from whence.metagradient.weighted_loss import flat

    folder, parameters = run_folder(request.target.runs[0]), replay.loss.parameters
    assert folder is not None
    weights = []
    for file in checkpoint_files(folder):
        tensors = artefacts.read_tensors(file)
        weights.append(flat([tensors[f"weights/{name}"] for name in parameters]).to(replay.start))
    own = dict(request.target.model.network.named_parameters())
    weights.append(flat([own[name].detach() for name in parameters]).to(replay.start))
    draws = request.target.model.process.draws(derived_seed(request.config.seed, "synset"), shared=True)
    return Matching(replay.loss, request.examples, clusters(request), OwnDraws(draws), DRAWS, weights, STEPS)


def clusters(request: AttributionRequest) -> dict[str, np.ndarray]:
    """Return the rows of each cluster by its name: the units, or examples that are alike."""
    import numpy as np

    from whence.similarity.clusters import clusters_of

    by_unit: dict[str, list[int]] = {}
    for n, units in enumerate(request.units):
        for unit in units:
            by_unit.setdefault(unit, []).append(n)
    count = len(request.examples)
    if len(by_unit) < count:
        return {unit: np.array(rows) for unit, rows in by_unit.items()}
    values = request.examples.x(np.arange(count)).flatten(1).double().numpy()
    number = clusters_of(values, max(2, round(count / MEMBERS))) if count > 2 else np.arange(count)
    return {f"cluster {k}": np.flatnonzero(number == k) for k in range(int(number.max()) + 1)}


def gradient_scale(replay: Replay, theta: Tensor) -> Tensor:
    """Return √v + ε, [P], at the weights θ at the end of the run, of the gradients of its last batches."""
    steps, squares = replay.config.steps, torch.zeros_like(theta)
    last = range(max(0, steps - AVERAGED), steps)
    for step in last:
        visits = replay.source(step)
        squares += replay.loss.gradient(theta, visits, torch.ones(len(visits.ids)).to(theta)).square()
    return (squares / len(last)).sqrt() + replay.config.epsilon


def reverse_gradient_cost(request: AttributionRequest, engine: Engine) -> Cost:
    """Return the cost of `reverse_gradient`, by the matching of one element for one step."""
    from whence.cost import Cost, median_seconds, peak_memory

    replay, queries = open_replay_of(request, engine, REVERSE_GRADIENT.title)
    matching = matching_of(request, replay)
    count, rows = len(matching.clusters), next(iter(matching.clusters.values()))
    theta, zero = matching.weights[-1], torch.zeros(len(matching.weights), len(replay.start)).to(replay.start)
    x = request.examples.x(rows[:1])[0].requires_grad_()
    one = median_seconds(lambda: torch.autograd.grad(matching.distance(int(rows[0]), x, zero), x), 3)
    losses = median_seconds(lambda: queries.values(theta), 1)
    gradients = one / 3 * len(request.examples)
    return Cost(
        seconds=count * (matching.steps * one + losses) + gradients,
        memory=peak_memory() + 4 * len(replay.start) * count * (len(matching.weights) + 1),
        disk=4 * count * x.numel(),
        work=f"{count:,} elements of {matching.steps} steps at {len(matching.weights)} sets of weights, and as many "
        "steps for the queries",
    )


REVERSE_GRADIENT = RunMethod(
    name="reverse-gradient",
    title="Reverse gradient matching",
    paper="after Ye et al. 2024, arXiv 2404.14006",
    function=reverse_gradient,
    plan=reverse_gradient_cost,
    readout="loss of the query after a step that undoes training on a cluster of examples",
    needs="one recorded run in float32 with checkpoints, and its data",
    cost="a pass over the data at each checkpoint, a matching for each cluster, and the losses of queries for each",
)
