"""What an ensemble's pictures and losses will cost, before paying: time by measuring a few canonical batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import psutil
import torch

from whence.config import SamplerConfig
from whence.cost import Cost, counted, median_seconds
from whence.engine import device, one_thread, workers_here
from whence.ensemble.mean import MeanPrediction
from whence.ensemble.model import Ensemble
from whence.ensemble.residuals import BATCH, BLOCK
from whence.ensemble.trajectories import Trajectory, evaluations, part_count


def drawing_cost(
    ensemble: Ensemble, missing: Mapping[SamplerConfig, Sequence[Trajectory]], *, workers: int | None = None
) -> Cost:
    """Cost of drawing pictures, measured on a few canonical batches of one member.

    Args:
        ensemble: A whole ensemble.
        missing: What is still to be drawn, by sampler.
        workers: Processes; default one for each core.

    Returns:
        The plan.
    """
    model, network = ensemble.schedule, ensemble.networks([0])
    seconds, processes, work = 0.0, 1, []
    for sampler, trajectories in missing.items():
        if not trajectories:
            continue
        parts = part_count(len(trajectories), sampler)
        used = min(workers or workers_here(), parts)
        x = torch.zeros(sampler.batch_size, *model.size, device=device())
        t = torch.zeros(sampler.batch_size, dtype=torch.long, device=device())
        predict = MeanPrediction(network, [(0,)] * len(x), sampler.batch_size)
        with one_thread():
            batch = median_seconds(partial(predict, x, t), 5)
        total = evaluations(trajectories, sampler)
        seconds += -(-parts // used) * (total / parts) * batch
        processes = max(processes, used)
        work.append(
            f"{len(trajectories)} pictures in {sampler.steps} steps: {total:,} network evaluations of "
            f"{batch * 1000:.0f} ms ({sampler.batch_size} pictures each) in {counted(used)}"
        )
    weights = sum(p.numel() for p in network[0].parameters()) * 4
    return Cost(
        seconds=seconds,
        memory=(psutil.Process().memory_info().rss + weights * ensemble.codebook.members) * processes,
        disk=sum(len(trajectories) for trajectories in missing.values()) * math.prod(model.size) * 10,
        work="; ".join(work) or "nothing: all of it is there already",
    )


def losses_cost(ensemble: Ensemble, pictures: int, draws: int, *, workers: int | None = None) -> Cost:
    """Cost of measuring the losses of pictures, measured on a few canonical batches of one member.

    Args:
        ensemble: A whole ensemble.
        pictures: How many.
        draws: Draws for each of them.
        workers: Processes; default one for each core.

    Returns:
        The plan.
    """
    model, networks, members = ensemble.schedule, ensemble.networks([0]), ensemble.codebook.members
    tasks = -(-pictures // BLOCK)
    used = min(workers or workers_here(), tasks)
    x = torch.zeros(BATCH, *model.size, device=device())
    predict = MeanPrediction(networks, [(0,)] * BATCH, BATCH)
    with one_thread():
        batch = median_seconds(partial(predict, x, torch.zeros(BATCH, dtype=torch.long, device=device())), 5)
    total = members * tasks * -(-min(BLOCK, pictures) * draws // BATCH)
    weights = sum(p.numel() for p in networks[0].parameters()) * 4
    return Cost(
        seconds=-(-tasks // used) * (total / tasks) * batch,
        memory=(psutil.Process().memory_info().rss + weights * members) * used,
        disk=pictures * (8 * members**2 * 8 + 4 * math.prod(model.size)),
        work=f"{pictures} pictures, {draws} draws each: about {total:,} network evaluations of {batch * 1000:.0f} ms "
        f"({BATCH} pairs each) in {counted(used)}",
    )
