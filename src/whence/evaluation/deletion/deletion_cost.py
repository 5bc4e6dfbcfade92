"""What removals will cost, before paying."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from whence.cost import Cost, counted
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training_cost import time_step, weight_bytes
from whence.engine import DEFAULT, Engine
from whence.evaluation.bank import Bank
from whence.evaluation.deletion.make_deletion import missing_retrainings
from whence.evaluation.deletion.removal import Removal
from whence.retraining.measurement import measure


def deletion_cost(
    bank: Bank, removals: Sequence[Removal], *, store: Path | None = None, engine: Engine = DEFAULT
) -> Cost:
    """Return the cost of `measure_removals`, from timing a few training steps and the measurement of one model.

    Args:
        bank: The bank.
        removals: The removals.
        store: Folder for the measurements; default the bank's own.
        engine: Where work runs.

    Returns:
        The cost of the models that are not measured yet.
    """
    missing = missing_retrainings(bank, removals, store)
    if not missing:
        return Cost(0.0, 0, 0, "nothing: all of it is there already")
    step, model = time_step(bank.data, bank.config)
    start = time.perf_counter()
    measurement = measure(DiffusionModel.load(bank.models[0]), bank.plan, engine=engine)
    seconds = time.perf_counter() - start
    used, steps = engine.processes(len(missing)), missing[0].config.training.steps
    kept = measurement.losses.nbytes + measurement.redrawn.nbytes
    return Cost(
        seconds=-(-len(missing) // used) * (steps * step + seconds),
        memory=psutil.Process().memory_info().rss * used,
        disk=len(missing) * kept + used * 4 * weight_bytes(model),
        work=f"{len(missing)} models: {steps:,} steps of {step * 1000:.0f} ms, {weight_bytes(model) // 4:,} parameters "
        f"each, in {counted(used)}. Each is measured on {len(bank.queries):,} queries in {seconds:.1f} s",
    )
