"""The cost of pictures, losses and screens of an ensemble, from the measured time of a few canonical batches."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import torch

from whence.cost import Cost, counted, median_seconds, peak_memory
from whence.diffusion.sampling import parse_name
from whence.engine import DEFAULT, Engine, one_thread
from whence.ensemble.drawing import Drawing
from whence.ensemble.gram import draw_groups
from whence.ensemble.loss_draws import losses_batch
from whence.ensemble.make_gram import BLOCK
from whence.ensemble.members import AdapterMembers, Members, NetworkMembers, batch_count, pairs_of
from whence.ensemble.model import Ensemble
from whence.ensemble.screen import ScreenRequest, group_evaluations, missing_groups
from whence.ensemble.tangents import tangents
from whence.ensemble.trajectories import Trajectory, evaluations, part_count
from whence.ensemble.weight_losses import WeightSets


def drawing_cost(
    ensemble: Ensemble, missing: Mapping[Drawing, Sequence[Trajectory]], *, engine: Engine = DEFAULT
) -> Cost:
    """Return the cost of drawing what is missing by drawing, measured on a few canonical batches of one member."""
    member = ensemble.open_members([0], engine)
    seconds, processes, work = 0.0, 1, []
    for drawing, trajectories in missing.items():
        if not trajectories:
            continue
        sampler, parts = drawing.sampler, part_count(len(trajectories), drawing)
        used = engine.processes(parts)
        batch = _batch_seconds(ensemble, member, sampler.batch_size, engine.device)
        total = evaluations(ensemble, trajectories, drawing)
        seconds += -(-parts // used) * (total / parts) * batch
        processes = max(processes, used)
        work.append(
            f"{len(trajectories)} pictures in {sampler.steps} steps: {total:,} network evaluations of "
            f"{batch * 1000:.0f} ms ({sampler.batch_size} pictures each) in {counted(used)}"
        )
    pictures = sum(len(trajectories) for trajectories in missing.values())
    return Cost(
        seconds=seconds,
        memory=_memory(ensemble, member) * processes,
        disk=pictures * math.prod(ensemble.picture_size) * 10,
        work="; ".join(work) or "nothing: all of it is there already",
    )


def losses_cost(
    ensemble: Ensemble, pictures: int, draws: int, sets: WeightSets | None = None, *, engine: Engine = DEFAULT
) -> Cost:
    """Return the cost of the losses of pictures at `draws` draws each, measured on a few canonical batches.

    With `sets` the losses are those of the mean of weights of each set of members.
    """
    member, members, rows = ensemble.open_members([0], engine), ensemble.codebook.members, losses_batch(ensemble)
    if sets is None:
        tasks, numbers = -(-pictures // BLOCK), pictures * 8 * members**2
        pairs = dict.fromkeys(range(members), min(BLOCK, pictures) * draws)
        total = tasks * batch_count(pairs, rows, on_one_base=ensemble.base is not None)
        batch = _batch_seconds(ensemble, member, rows, engine.device)
        what = f"{pictures} pictures, {draws} draws each"
    else:
        sizes, count = torch.bincount(draw_groups(draws)).tolist(), len(sets.members)
        tasks, numbers = pictures * len(sizes), pictures * 8 * count
        total = pictures * sum(-(-size * count // rows) for size in sizes)
        batch = _batch_seconds(ensemble, ensemble.open_adapters(engine=engine), rows, engine.device, by_weights=True)
        what = (
            f"{pictures} pictures, {draws} draws each, {count:,} sets of members ({len(sets.placebos):,} placebos), "
            f"{pictures * draws * count:,} passes"
        )
    used = engine.processes(tasks)
    return Cost(
        seconds=-(-tasks // used) * (total / tasks) * batch,
        memory=_memory(ensemble, member) * used,
        disk=numbers * 8 + pictures * 4 * math.prod(ensemble.picture_size),
        work=f"{what}: about {total:,} network evaluations of {batch * 1000:.0f} ms ({rows} pairs each) in "
        f"{counted(used)}",
    )


def screen_cost(ensemble: Ensemble, requests: Sequence[ScreenRequest], *, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of the screens that are not there yet, measured on a sampling step with copies of one member."""
    groups = missing_groups(requests)
    if not groups:
        return Cost(0.0, peak_memory(), 0, "nothing: all of it is there already")
    used = engine.processes(len(groups))
    member, members, sampler = ensemble.open_members([0], engine), ensemble.codebook.members, groups[0][0].sampler
    assert isinstance(member, NetworkMembers)
    copies = NetworkMembers(dict.fromkeys(range(members), member.networks[0]))
    single_step, names = sampler.model_copy(update={"steps": 1}), [parse_name(request.sample) for request in groups[0]]
    with one_thread():
        for _ in range(2):  # The first step warms up.
            begin = time.perf_counter()
            tangents(ensemble.reference_model, copies, single_step, names)
            seconds = time.perf_counter() - begin
    pictures, total = sum(map(len, groups)), sum(group_evaluations(ensemble, group) for group in groups)
    return Cost(
        seconds=-(-len(groups) // used) * sampler.steps * seconds,
        memory=_memory(ensemble, member) * used,
        disk=pictures * math.prod(ensemble.picture_size) * (8 * members + 4),
        work=f"{pictures} pictures: {total:,} forward-mode evaluations in {counted(used)}",
    )


def _batch_seconds(
    ensemble: Ensemble, members: Members, batch_size: int, place: torch.device, *, by_weights: bool = False
) -> float:
    """Median time of a canonical batch: of member 0, or by the mean of weights of all members."""
    x = torch.zeros(batch_size, *ensemble.reference_model.size, device=place)
    t = torch.zeros(batch_size, dtype=torch.long, device=place)
    conditions, pairs = ensemble.encoders.conditions([""] * batch_size), pairs_of([(0,)] * batch_size)

    def evaluate() -> object:
        if not by_weights:
            return list(members.outputs(pairs, x, t, batch_size, conditions))
        assert isinstance(members, AdapterMembers)
        everybody = torch.ones(batch_size, len(members.numbers), dtype=torch.bool)
        return members.mean_weights(everybody, x, t, batch_size, conditions)

    with one_thread():
        return median_seconds(evaluate, 5)


def _memory(ensemble: Ensemble, members: Members) -> int:
    """Memory of a process that holds all members in float32."""
    return peak_memory() + 4 * members.size(ensemble.codebook.members)
