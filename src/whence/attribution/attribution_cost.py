"""The cost of an attribution before it is made: time by measuring a small part, memory and disk by counting."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import torch

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.cost import Cost, counted
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine, cores, one_thread
from whence.gradients.features import Feature, Sums, add_draws, batch_shape
from whence.gradients.make_features import FeatureJob
from whence.scores.jackknife import GROUPS

#: Largest number of examples and features of the kernel that is timed.
TIMED = 768
#: Bytes of a pair of query and example by one method: in memory with the sums of its groups of draws, and on disk.
PAIR, KEPT = 64, 24


def attribution_cost(plan: FeaturePlan, store: FeatureStore, *, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of the features that are missing in a store, and of the scores. It writes nothing.

    Args:
        plan: The plan.
        store: The store.
        engine: Where work runs.
    """
    used, rows, seconds, disk, parameters = engine.workers or cores(), 0, 0.0, 0, 0
    for feature_set, job in store.jobs(plan).items():
        parameters, missing = job.spec.size, job.missing()
        if not missing:
            continue
        examples, row_bytes = feature_set.examples, 2 if job.precision == "float16" else 4
        batch, width = batch_seconds(job, examples), sum(job.spec.compression["widths"])
        for before, kinds in missing.items():
            seconds += batch_count(job, len(examples), before) * batch * len(kinds) / len(job.kinds)
            rows += len(examples) * (job.draws - before)
            disk += len(kinds) * len(examples) * GROUPS * width * row_bytes
    now, request = psutil.Process().memory_info().rss, plan.request
    pairs = sum(len(plan.query_ids(method)) for method in plan.terms) * len(request.examples)
    kernels, memory = _kernels(plan, parameters)
    return Cost(
        seconds=seconds / used + kernels,
        memory=max(now * used, now + memory + PAIR * pairs),
        disk=disk + KEPT * pairs,
        work=f"{rows:,} gradients of a picture at a draw, in {counted(used)}, by {parameters:,} parameters, and scores"
        if rows
        else "scores alone: the features are there",
    )


def batch_count(job: FeatureJob, examples: int, before: int = 0) -> int:
    """Return the number of batches that make the features of some examples, after some draws that are there."""
    count, draws = batch_shape(min(examples, job.batch), job.batch)
    return -(-examples // count) * -(-(job.draws - before) // draws)


def batch_seconds(
    job: FeatureJob, examples: Examples, *, clock: Callable[[], float] = time.perf_counter, repeats: int = 1
) -> float:
    """Return the least time of one of several batches with all kinds of features, after a batch that isn't counted."""
    few = examples.head(job.batch)
    _, draws = batch_shape(len(few), job.batch)
    with one_thread():
        model, collector = job.spec.open()

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
        features = FeaturePair(examples, queries, losses=torch.ones(n))
        start = time.perf_counter()
        for method in methods:
            method.function(features, method.damping)
        seconds += (time.perf_counter() - start) * scale**3 * term_count * (1 + GROUPS)
    return seconds, 12 * count * width + 24 * min(count, width) ** 2 if kernels else 0
