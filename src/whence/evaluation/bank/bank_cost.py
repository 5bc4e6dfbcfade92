"""What a bank will cost, before paying: time by measuring a little of it, memory and disk by counting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from whence import artefacts
from whence.config import Config, SamplerConfig
from whence.cost import Cost, counted, median_seconds
from whence.data import Dataset
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training_cost import time_step, weight_bytes
from whence.engine import workers_here
from whence.evaluation.bank.build import PoolRequest
from whence.evaluation.bank.measure import BATCH, draw_again, measure_losses
from whence.evaluation.bank.request import BankRequest
from whence.evaluation.bank.retrain import shortened

#: Sampling steps that are timed.
TIMED_STEPS = 3


def bank_cost(
    request: BankRequest,
    pools: Sequence[PoolRequest],
    path: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    keep_models: bool = False,
    workers: int | None = None,
) -> Cost:
    """Cost of what a bank lacks, measured on a few training steps, one batch of losses and a few sampling steps.

    Args:
        request: The bank.
        pools: Its pools.
        path: Its directory; what is there already costs nothing.
        shard: The part of the pools that is trained.
        keep_models: Whether the weights are kept.
        workers: Processes; default one for each core.

    Returns:
        The plan.
    """
    data, config, settings = request.data, request.config, request.settings
    step, model = time_step(data, config)
    names, used = settings.drawn_names, workers or workers_here()
    drawing = time_drawing(model, config.sampler, names)
    losses = time_losses(model, data, settings.draws, settings.held_out + settings.drawn)
    measuring, references = losses + drawing, _missing_references(request, path)
    measured = (path / "reference" / artefacts.MANIFEST).exists()
    seconds = 0.0 if measured else settings.models * measuring + drawing
    seconds += -(-references // used) * config.training.steps * step
    steps, retrained = references * config.training.steps, 0
    for pool in pools:
        missing, own = len(pool.missing(path, shard)), _steps(pool, config, len(data))
        seconds += -(-missing // used) * (own * step + measuring)
        retrained, steps = retrained + missing, steps + missing * own
    weights, queries = weight_bytes(model), settings.held_out + settings.drawn
    measurement = 8 * queries + settings.drawn * math.prod(data.size)
    kept = references + (config.training.checkpoints if references else 0) + (retrained if keep_models else 0)
    record = 17 * config.training.batch_size * (steps if keep_models else references * config.training.steps)
    work = (
        f"{references} reference and {retrained:,} retrained models: {steps:,} steps of {step * 1000:.0f} ms, "
        f"{weights // 4:,} parameters each, in {counted(used)}. Each is measured on {queries:,} queries in "
        f"{measuring:.1f} s"
    )
    return Cost(
        seconds=seconds,
        memory=psutil.Process().memory_info().rss * min(used, max(1, references, retrained)),
        disk=kept * weights + record + retrained * measurement + 4 * weights * used + data.pixels.nbytes,
        work=work if references + retrained else "nothing: all of it is there already",
    )


def _missing_references(request: BankRequest, path: Path) -> int:
    """Return how many reference models are still to be trained.

    Raises:
        MismatchError: A bank of something else is there.
    """
    if request.is_there(path):
        return 0
    begun = Path(f"{path}.part") / "models"
    return sum(not (begun / str(k) / artefacts.MANIFEST).exists() for k in range(request.settings.models))


def _steps(pool: PoolRequest, config: Config, examples: int) -> int:
    """Steps of the training of each of a pool's models."""
    return (
        config if pool.deterministic else shortened(config, round(pool.fraction * examples), examples)
    ).training.steps


def time_losses(model: DiffusionModel, data: Dataset, draws: int, pictures: int) -> float:
    """Return the seconds that losses of so many pictures take one model, measured on some of `data`."""
    few = data.select(np.arange(min(len(data), max(1, BATCH // draws))))
    taken = median_seconds(partial(measure_losses, model, few, model.process.draws(0), draws), 3)
    return taken * pictures / len(few)


def time_drawing(model: DiffusionModel, sampler: SamplerConfig, names: Sequence[str]) -> float:
    """Return the seconds that drawing the pictures SEED/INDEX takes one model, measured on one batch and few steps."""
    short = sampler.model_copy(update={"steps": min(TIMED_STEPS, sampler.steps)})
    taken = median_seconds(partial(draw_again, model, short, names[: sampler.batch_size]), 1)
    return taken * -(-len(names) // sampler.batch_size) * sampler.steps / short.steps
