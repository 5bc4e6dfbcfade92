"""What an attribution will cost, before paying: time by measuring one batch, memory and disk by counting."""

from __future__ import annotations

import time

import psutil

from whence.attribution.work import Work
from whence.engine import one_thread, workers_here
from whence.gradients.examples import Examples
from whence.gradients.features import GROUPS, Sums, add_draws, batch_shape
from whence.gradients.store import Job
from whence.plan import Plan, counted


def plan_attribution(work: Work, *, workers: int | None = None) -> Plan:
    """Cost of the features that are missing, measured on one batch of each store.

    Args:
        work: What is wanted.
        workers: Processes; default one for each core.

    Returns:
        The plan. Scores come on top: one eigendecomposition for each model, readout and group of draws.
    """
    used, rows, seconds, disk = workers or workers_here(), 0, 0.0, 0
    for job in work.jobs.values():
        missing = job.missing()
        if not missing:
            continue
        examples = Examples.read(job.request.examples)
        batch, width = _batch_seconds(job, examples)
        count, draws = batch_shape(min(len(examples), job.request.batch), job.request.batch)
        for before, kinds in missing.items():
            batches = -(-len(examples) // count) * -(-(job.draws - before) // draws)
            seconds += batches * batch * len(kinds) / len(job.features)
            rows += len(examples) * (job.draws - before)
            disk += len(kinds) * len(examples) * (GROUPS * width * (2 if job.request.precision == "float16" else 4))
    return Plan(
        seconds=seconds / used,
        memory=psutil.Process().memory_info().rss * used,
        disk=disk,
        work=f"{rows:,} gradients of a picture at a draw, in {counted(used)}, and scores"
        if rows
        else "scores alone: the features are there",
    )


def _batch_seconds(job: Job, examples: Examples) -> tuple[float, int]:
    """Time of one batch with all kinds of features, after one that is not counted, and the width of the features."""
    few = Examples.read(job.request.examples).head(job.request.batch)
    count, draws = batch_shape(len(few), job.request.batch)
    with one_thread():
        model, collector = job.request.subject.opened()
        for _ in range(2):
            found = {feature: Sums.empty(len(few), collector.maps.width) for feature in job.features}
            start = time.perf_counter()
            add_draws(model, collector, few, job.request.source, range(draws), found, job.request.batch)
            taken = time.perf_counter() - start
    return taken, collector.maps.width
