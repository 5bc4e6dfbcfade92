"""What attribution costs, before it starts: features and scores, measured on a small part."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan, FeatureSet
from whence.attribution.feature_store import FeatureStore
from whence.attribution.make_influence import block_size
from whence.attribution.method import Method
from whence.attribution.top_cost import top_bytes
from whence.cost import Cost, ProcessMemory, Throughput, counted, memory_together, peak_memory
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine, Task, one_thread
from whence.gradients.features import Feature, Sums, add_draws, batch_shape
from whence.gradients.make_features import FeatureJob
from whence.scores.jackknife import GROUPS

#: Largest number of examples and features of the kernel that is timed.
TIMED = 768
#: Bytes of a pair of query and example by one method: in memory with the sums of its groups of draws, and on disk.
PAIR, KEPT = 64, 24


def attribution_cost(
    plan: FeaturePlan, store: FeatureStore, *, top: int | None = None, engine: Engine = DEFAULT
) -> Cost:
    """Return the cost of the features that are missing in a store, and of the scores: measured on a small part.

    With `top`, it is that of `attribute_top`, which keeps so many scores at each end.

    The memory is the largest of three: what this process has used to check the model, which the command does as well;
    what it and the workers use together while features are made; and what it uses for the scores.
    """
    jobs, missing = store.jobs(plan), store.missing(plan)
    used = _processes_of(missing, engine) if all(job.spec.can_travel for job in jobs.values()) else 1
    batches, memory = _measure_batches(missing, used, engine)
    rows, seconds, disk, images = 0, 0.0, 0, (0.0, 0)
    for (feature_set, job), batch in zip(missing.items(), batches, strict=True):
        examples = feature_set.examples
        if examples is plan.request.examples:
            images = images[0] + job.draws * batch / job.batch, images[1] + kept_bytes(job)
        for before, kinds in job.missing().items():
            seconds += (
                sum(batch_count(job, len(one), before) for one in examples.groups())
                * batch
                * len(kinds)
                / len(job.kinds)
            )
            rows += len(examples) * (job.draws - before)
            disk += len(examples) * kept_bytes(job, kinds)
    parts = [plan.compressed, plan.curved]
    now, parameters = ProcessMemory.now().total, next((job.spec.size for job in jobs.values()), 0)
    pairs = sum(len(plan.query_ids(method)) for method in plan.terms) * len(plan.request.examples)
    kernels, kernel_bytes = (sum(pair) for pair in zip(*(_kernels(part, parameters) for part in parts), strict=True))
    held, kept = kernel_bytes + PAIR * pairs, KEPT * pairs
    if top is not None:
        held, kept = top_bytes(plan, [job.spec.compression["widths"] for job in jobs.values()], top)
    return Cost(
        seconds=seconds / used + kernels,
        memory=max(memory, now + held),
        disk=disk + kept,
        work=f"{rows:,} gradients of a picture at a draw, in {counted(used)}, by {parameters:,} parameters, and scores"
        if rows
        else "scores alone: the features are there",
        throughput=Throughput(*images, plan.request.config.draws, used, engine.unit) if images[0] else None,
    )


def kept_bytes(job: FeatureJob, kinds: Sequence[Feature] | None = None) -> int:
    """Return the bytes on disk of the features of an example, of all kinds of a job or some of them."""
    number = 2 if job.precision == "float16" else 4
    chosen = job.kinds if kinds is None else kinds
    return int(job.kept) * len(chosen) * GROUPS * sum(map(int, job.spec.compression["widths"])) * number


def _processes_of(jobs: Mapping[FeatureSet, FeatureJob], engine: Engine) -> int:
    """Return the number of processes that make the features of some jobs; a task is a batch of examples."""
    shards = (-(-len(one.examples) // job.batch) * len(job.missing()) for one, job in jobs.items())
    return engine.processes(sum(shards))


def _measure_batches(jobs: Mapping[FeatureSet, FeatureJob], processes: int, engine: Engine) -> tuple[list[float], int]:
    """Return the time of a batch of each job, and the memory of all processes together while such batches are made.

    The batches run where those of the command run: in a worker, or in this process if no worker is needed.
    """
    if not jobs:
        return [], peak_memory()
    with tempfile.TemporaryDirectory() as scratch:
        few = [replace(job, examples=Path(scratch) / f"{number}") for number, job in enumerate(jobs.values())]
        for feature_set, job in zip(jobs, few, strict=True):
            feature_set.examples.head(job.batch).write(job.examples)
        if processes == 1:
            return time_batches(few, engine=engine)[0], peak_memory()
        seconds, worker = engine.run_apart(Task("a batch of features", time_batches, {"jobs": few}))
        return seconds, max(peak_memory(), memory_together(worker, processes))


def time_batches(jobs: Sequence[FeatureJob], engine: Engine) -> tuple[list[float], ProcessMemory]:
    """Return the time of a batch of each job, and the most memory that this process has used then."""
    seconds = [batch_seconds(job, Examples.read(job.examples), engine=engine) for job in jobs]
    return seconds, ProcessMemory.peak()


def batch_count(job: FeatureJob, examples: int, before: int = 0) -> int:
    """Return the number of batches that make the features of some examples, after some draws that are there."""
    count, draws = batch_shape(min(examples, job.batch), job.batch)
    return -(-examples // count) * -(-(job.draws - before) // draws)


def batch_seconds(
    job: FeatureJob,
    examples: Examples,
    *,
    clock: Callable[[], float] = time.perf_counter,
    repeats: int = 1,
    engine: Engine = DEFAULT,
) -> float:
    """Return the least time of one of several batches with all kinds of features, after a batch that isn't counted."""
    few = examples.by_shape()[0].head(job.batch if job.kept else block_size(job.spec.size))
    _, draws = batch_shape(len(few), job.batch)
    with one_thread():
        model, collector = job.spec.open(engine)

        def batch() -> None:
            sums = {feature: Sums.empty(len(few), collector.maps.width) for feature in job.kinds}
            add_draws(model, collector, few, job.source, range(draws), sums, job.batch)

        return least_seconds(batch, clock=clock, repeats=repeats)


def least_seconds(work: Callable[[], object], *, clock: Callable[[], float], repeats: int) -> float:
    """Return the least time of one of several calls, after a call that isn't counted."""
    times = []
    for _ in range(1 + repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times[1:])


def _kernels(plan: FeaturePlan, parameters: int) -> tuple[float, int]:
    """Return the time of the scores, and the bytes of the features and the kernel that are in memory together.

    The time is that of the methods on fewer random features, scaled by the cube, which is the cost of every product.
    """
    compression, count = plan.request.config.compression, len(plan.request.examples)
    width = parameters if compression.kind == "none" else min(parameters, compression.width)
    scale, random, seconds = max(1.0, max(count, width) / TIMED), torch.Generator().manual_seed(0), 0.0
    kernels: dict[tuple[Feature, int, int], list[Method]] = {}
    for method, terms in plan.terms.items():
        kernels.setdefault((method.feature, len(plan.query_ids(method)), len(terms)), []).append(method)
    n, p = (max(1, round(size / scale)) for size in (count, width))
    for (_, query_count, term_count), methods in kernels.items():
        examples, queries = (torch.randn(rows, p, generator=random) for rows in (n, max(1, round(query_count / scale))))
        features = FeaturePair(examples, queries, losses=torch.ones(n), eigenvalues=torch.ones(p))
        start = time.perf_counter()
        for method in methods:
            method.function(features, method.damping)
        seconds += (time.perf_counter() - start) * scale**3 * term_count * (1 + GROUPS)
    if any(method.curvature for method in plan.terms):
        most = max(query_count for _, query_count, _ in kernels)
        return seconds, 4 * width * (2 * GROUPS * block_size(width) + 3 * most)
    return seconds, 12 * count * width + 24 * min(count, width) ** 2 if kernels else 0
