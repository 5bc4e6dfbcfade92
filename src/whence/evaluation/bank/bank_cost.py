"""What a bank will cost, before paying: time by measuring a little of it, memory and disk by counting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import psutil

from whence import artefacts
from whence.config import Config
from whence.cost import Cost, counted
from whence.diffusion.training_cost import time_step, weight_bytes
from whence.engine import DEFAULT, Engine, cores
from whence.evaluation.bank.bank_request import BankRequest
from whence.evaluation.bank.make_pool import PoolRequest
from whence.retraining.measurement import time_drawing, time_losses
from whence.retraining.rule import shorten_training


def bank_cost(
    request: BankRequest,
    pools: Sequence[PoolRequest],
    path: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    keep_models: bool = False,
    engine: Engine = DEFAULT,
) -> Cost:
    """Return the cost of the missing models of a bank, from timing a few training steps, losses and sampling steps.

    Args:
        request: The bank.
        pools: Its pools.
        path: Its directory; models that are measured there cost nothing.
        shard: The part of the pools that is trained.
        keep_models: Whether the weights are kept.
        engine: Where work runs.

    Returns:
        The plan.
    """
    data, config, settings = request.data, request.config, request.settings
    step, model = time_step(data, config)
    names, used = settings.drawn_names, engine.workers or cores()
    drawing = time_drawing(model, config.sampler, names)
    losses = time_losses(model, data, settings.draws, settings.held_out + settings.drawn)
    measuring, references = losses + drawing, _missing_references(request, path)
    measured = (path / "reference" / artefacts.MANIFEST).exists()
    seconds = 0.0 if measured else settings.models * measuring + drawing
    seconds += -(-references // used) * config.training.steps * step
    steps, retrained = references * config.training.steps, 0
    for pool in pools:
        missing, each = len(pool.missing(path, shard)), _steps(pool, config, len(data))
        seconds += -(-missing // used) * (each * step + measuring)
        retrained, steps = retrained + missing, steps + missing * each
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
    if request.exists_in(path):
        return 0
    folder = Path(f"{path}.part") / "models"
    return sum(not (folder / str(k) / artefacts.MANIFEST).exists() for k in range(request.settings.models))


def _steps(pool: PoolRequest, config: Config, examples: int) -> int:
    """Training steps of each model of a pool."""
    return (
        config if pool.deterministic else shorten_training(config, round(pool.fraction * examples), examples)
    ).training.steps
