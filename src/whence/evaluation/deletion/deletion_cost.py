"""What removals will cost, before paying."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from whence.cost import Cost, counted
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training_cost import time_step, weight_bytes
from whence.engine import workers_here
from whence.evaluation.bank import Bank
from whence.evaluation.bank.retrain import measure
from whence.evaluation.deletion.delete import missing_runs
from whence.evaluation.deletion.wanted import Wanted


def deletion_cost(
    bank: Bank, wanted: Sequence[Wanted], *, store: Path | None = None, workers: int | None = None
) -> Cost:
    """Cost of what `carry_out` would train, measured on a few training steps and the measurement of one model.

    Args:
        bank: The bank.
        wanted: What is removed.
        store: Folder for what is measured; default the bank's own.
        workers: Processes; default one for each core.

    Returns:
        The plan.
    """
    runs = missing_runs(bank, wanted, store)
    if not runs:
        return Cost(0.0, 0, 0, "nothing: all of it is there already")
    step, model = time_step(bank.data, bank.config)
    start = time.perf_counter()
    measured = measure(bank, DiffusionModel.load(bank.models[0]))
    measuring = time.perf_counter() - start
    used, steps = min(workers or workers_here(), len(runs)), runs[0].settings(bank).training.steps
    return Cost(
        seconds=-(-len(runs) // used) * (steps * step + measuring),
        memory=psutil.Process().memory_info().rss * used,
        disk=len(runs) * (measured.losses.nbytes + measured.pictures.nbytes) + used * 4 * weight_bytes(model),
        work=f"{len(runs)} models: {steps:,} steps of {step * 1000:.0f} ms, {weight_bytes(model) // 4:,} parameters "
        f"each, in {counted(used)}. Each is measured on {len(bank.queries):,} queries in {measuring:.1f} s",
    )
