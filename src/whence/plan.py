"""What a command will cost, before paying: time by measuring a little of it, memory and disk by counting."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

from whence.config import Config, SamplerConfig
from whence.data import Dataset
from whence.diffusion.loop import Loop
from whence.diffusion.process import DiffusionModel
from whence.diffusion.sizes import suit
from whence.engine import device, one_thread, workers_here
from whence.ensemble.mean import MeanPrediction
from whence.ensemble.model import Ensemble
from whence.ensemble.residuals import BATCH, BLOCK
from whence.ensemble.trajectories import Trajectory, evaluations, part_count


@dataclass(frozen=True)
class Plan:
    """The cost of a command.

    Attributes:
        seconds: Estimated time.
        memory: Estimated bytes of memory, all processes together.
        disk: Estimated bytes on disk when it is done.
        work: What it consists of, in words.
    """

    seconds: float
    memory: int
    disk: int
    work: str


def plan_training(data: Dataset, config: Config, *, members: int = 1, workers: int | None = None) -> Plan:
    """Cost of training `members` models, measured on a few steps of one.

    Args:
        data: The training examples.
        config: Settings of every model.
        members: Models to train.
        workers: Processes; default one for each core.

    Returns:
        The plan. Steps run with one thread in this process, while nothing else runs beside them.
    """
    workers, config = min(workers or workers_here(), members), suit(config, data.size)
    step, model = time_step(data, config)
    weights = weight_bytes(model)
    rounds = -(-members // workers)
    record = config.training.steps * config.training.batch_size * 17
    kept = members * (weights * (1 + config.training.checkpoints) + record)
    return Plan(
        seconds=rounds * config.training.steps * step,
        memory=psutil.Process().memory_info().rss * workers,
        disk=kept + workers * 4 * weights + data.pixels.nbytes,
        work=f"{members} x {config.training.steps:,} steps of {step * 1000:.0f} ms, {weights // 4:,} parameters each, "
        f"in {counted(workers)}",
    )


def time_step(data: Dataset, config: Config, start: DiffusionModel | None = None) -> tuple[float, DiffusionModel]:
    """Return the median time of a training step, in seconds, over a few of them, and the model that took them.

    Args:
        data: The training examples.
        config: Settings of the model and its training.
        start: The model that training goes on from; `config.model` then does not matter.
    """
    settings = suit(config, data.size) if start is None else config
    with TemporaryDirectory() as scratch, one_thread():
        loop = Loop.start(data, torch.ones(len(data)).numpy(), settings, Path(scratch), start)
        return median_seconds(loop.one_step, 5), loop.model


def weight_bytes(model: DiffusionModel) -> int:
    """Return the bytes of a model's weights in float32."""
    return 4 * sum(p.numel() for p in model.network.parameters())


def plan_drawing(
    ensemble: Ensemble, missing: Mapping[SamplerConfig, Sequence[Trajectory]], *, workers: int | None = None
) -> Plan:
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
    return Plan(
        seconds=seconds,
        memory=(psutil.Process().memory_info().rss + weights * ensemble.codebook.members) * processes,
        disk=sum(len(trajectories) for trajectories in missing.values()) * math.prod(model.size) * 10,
        work="; ".join(work) or "nothing: all of it is there already",
    )


def plan_losses(ensemble: Ensemble, pictures: int, draws: int, *, workers: int | None = None) -> Plan:
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
    return Plan(
        seconds=-(-tasks // used) * (total / tasks) * batch,
        memory=(psutil.Process().memory_info().rss + weights * members) * used,
        disk=pictures * (8 * members**2 * 8 + 4 * math.prod(model.size)),
        work=f"{pictures} pictures, {draws} draws each: about {total:,} network evaluations of {batch * 1000:.0f} ms "
        f"({BATCH} pairs each) in {counted(used)}",
    )


def counted(processes: int) -> str:
    """A number of processes in words."""
    return f"{processes} process{'es' if processes > 1 else ''}"


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
