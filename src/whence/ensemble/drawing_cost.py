"""The cost of pictures, losses and screens of an ensemble, from the measured time of a few canonical batches."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial

import torch

from whence.config import SamplerConfig
from whence.cost import Cost, counted, median_seconds, peak_memory
from whence.diffusion.sampling import parse_name
from whence.engine import DEFAULT, Engine, one_thread
from whence.ensemble.make_losses import BATCH, BLOCK
from whence.ensemble.model import Ensemble, Members
from whence.ensemble.screen import ScreenRequest, group_evaluations, missing_groups
from whence.ensemble.tangents import tangents
from whence.ensemble.trajectories import Trajectory, evaluations, part_count


def drawing_cost(
    ensemble: Ensemble, missing: Mapping[SamplerConfig, Sequence[Trajectory]], *, engine: Engine = DEFAULT
) -> Cost:
    """Return the cost of drawing what is missing by sampler, measured on a few canonical batches of one member."""
    member = ensemble.open_members([0], engine)
    seconds, processes, work = 0.0, 1, []
    for sampler, trajectories in missing.items():
        if not trajectories:
            continue
        parts = part_count(len(trajectories), sampler)
        used = engine.processes(parts)
        batch = _batch_seconds(ensemble, member, sampler.batch_size)
        total = evaluations(trajectories, sampler)
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
        disk=pictures * math.prod(ensemble.reference_model.size) * 10,
        work="; ".join(work) or "nothing: all of it is there already",
    )


def losses_cost(ensemble: Ensemble, pictures: int, draws: int, *, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of the losses of pictures at `draws` draws each, measured on a few batches of one member."""
    member, members = ensemble.open_members([0], engine), ensemble.codebook.members
    tasks = -(-pictures // BLOCK)
    used = engine.processes(tasks)
    batch = _batch_seconds(ensemble, member, BATCH)
    total = members * tasks * -(-min(BLOCK, pictures) * draws // BATCH)
    return Cost(
        seconds=-(-tasks // used) * (total / tasks) * batch,
        memory=_memory(ensemble, member) * used,
        disk=pictures * (8 * members**2 * 8 + 4 * math.prod(ensemble.reference_model.size)),
        work=f"{pictures} pictures, {draws} draws each: about {total:,} network evaluations of {batch * 1000:.0f} ms "
        f"({BATCH} pairs each) in {counted(used)}",
    )


def screen_cost(ensemble: Ensemble, requests: Sequence[ScreenRequest], *, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of the screens that are not there yet, measured on a sampling step with copies of one member."""
    groups = missing_groups(requests)
    if not groups:
        return Cost(0.0, peak_memory(), 0, "nothing: all of it is there already")
    used = engine.processes(len(groups))
    member, members, sampler = ensemble.open_members([0], engine), ensemble.codebook.members, groups[0][0].sampler
    copies = Members(dict.fromkeys(range(members), member.networks[0]))
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
        disk=pictures * math.prod(ensemble.reference_model.size) * (8 * members + 4),
        work=f"{pictures} pictures: {total:,} forward-mode evaluations in {counted(used)}",
    )


def _batch_seconds(ensemble: Ensemble, member: Members, batch_size: int) -> float:
    """Median time of a canonical batch."""
    place = next(member.networks[0].parameters()).device
    x = torch.zeros(batch_size, *ensemble.reference_model.size, device=place)
    t = torch.zeros(batch_size, dtype=torch.long, device=place)
    with one_thread():
        return median_seconds(partial(member.predict, 0, x, t, batch_size), 5)


def _memory(ensemble: Ensemble, member: Members) -> int:
    """Memory of a process that holds all members in float32."""
    parameters = sum(parameter.numel() for parameter in member.networks[0].parameters())
    return peak_memory() + 4 * parameters * ensemble.codebook.members
