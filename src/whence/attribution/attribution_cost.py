"""What an attribution will cost, before paying: time by measuring a little of it, memory and disk by counting."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import psutil
import torch

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.method import Method
from whence.attribution.work import Work
from whence.cost import Cost, counted
from whence.diffusion.examples import Examples
from whence.engine import one_thread, workers_here
from whence.gradients.features import Feature, Sums, add_draws, batch_shape
from whence.gradients.store import Job
from whence.scores.jackknife import GROUPS

#: Examples and features of the kernel that is timed, at most.
TIMED = 768
#: Bytes of a pair of query and example by one method: in memory with the sums of its groups of draws, and on disk.
PAIR, KEPT = 64, 24


def attribution_cost(work: Work, methods: Sequence[Method], *, workers: int | None = None) -> Cost:
    """Cost of the features that are missing, measured on one batch of each store, and of the scores of all methods.

    Args:
        work: Where features are kept, and of what.
        methods: The gradient methods that are wanted.
        workers: Processes that make features; default one for each core.

    Returns:
        The plan.
    """
    looks = {method: work.looks(method) for method in methods}
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
    now, parameters = psutil.Process().memory_info().rss, work.coverage.size if work.coverage else 0
    pairs = sum(len(work.query_names(method)) for method in methods) * len(work.examples)
    kernels, held = _kernels(work, {method: len(own) for method, own in looks.items()}, parameters)
    return Cost(
        seconds=seconds / used + kernels,
        memory=max(now * used, now + held + PAIR * pairs),
        disk=disk + KEPT * pairs,
        work=f"{rows:,} gradients of a picture at a draw, in {counted(used)}, by {parameters:,} parameters, and scores"
        if rows
        else "scores alone: the features are there",
    )


def _kernels(work: Work, looks: Mapping[Method, int], parameters: int) -> tuple[float, int]:
    """Return the time of the scores, and the bytes of features and kernel that are held at a time.

    The time is that of the methods on fewer random features, of which every product costs the cube less.
    """
    compression, count = work.config.compression, len(work.examples)
    width = parameters if compression.kind == "none" else min(parameters, compression.width)
    less, random, seconds = max(1.0, max(count, width) / TIMED), torch.Generator().manual_seed(0), 0.0
    shared: dict[tuple[Feature, int, int], list[Method]] = {}
    for method, number in looks.items():
        shared.setdefault((method.feature, len(work.query_names(method)), number), []).append(method)
    n, p = (max(1, round(size / less)) for size in (count, width))
    for (_, queries, number), methods in shared.items():
        examples, asked = (torch.randn(rows, p, generator=random) for rows in (n, max(1, round(queries / less))))
        evidence = FeaturePair(examples, asked, losses=torch.ones(n))
        start = time.perf_counter()
        for method in methods:
            method.function(evidence, method.damping)
        seconds += (time.perf_counter() - start) * less**3 * number * (1 + GROUPS)
    return seconds, 12 * count * width + 24 * min(count, width) ** 2 if shared else 0


def _batch_seconds(job: Job, examples: Examples) -> tuple[float, int]:
    """Time of one batch with all kinds of features, after one that is not counted, and the width of the features."""
    few = examples.head(job.request.batch)
    count, draws = batch_shape(len(few), job.request.batch)
    with one_thread():
        model, collector = job.request.subject.opened()
        for _ in range(2):
            found = {feature: Sums.empty(len(few), collector.maps.width) for feature in job.features}
            start = time.perf_counter()
            add_draws(model, collector, few, job.request.source, range(draws), found, job.request.batch)
            taken = time.perf_counter() - start
    return taken, collector.maps.width
