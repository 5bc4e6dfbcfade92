"""The section ``runtime``: what each method costs by itself, in seconds of one core, whatever else the machine does."""

from __future__ import annotations

import time
from functools import partial

from whence.attribution.attribute import batch_count, batch_seconds, least_seconds
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.engine import one_thread
from whence.evaluation.leaderboard.board import PIXELS, Board, needs_drawn
from whence.evaluation.leaderboard.scores import chosen_methods
from whence.evaluation.leaderboard.sections import Figure, Rows, Section, SectionSpec, make_section
from whence.scores.jackknife import GROUPS
from whence.similarity.attributors import attributor

#: Number of times that a piece of work is timed; the fastest counts.
REPEATS = 3


def measure_runtime(board: Board) -> Section:
    """Measure the section."""
    rows: Rows = {}
    for method in chosen_methods(board):
        seconds = method_seconds(board, method)
        rows[method.name] = {"seconds": Figure(value=seconds), "draws": Figure(value=board.draws)}
    queries = board.queries(False)
    for name in PIXELS:
        work = partial(attributor(name, board.bank.data), queries.values, queries.ids)
        seconds = least_seconds(work, clock=time.process_time, repeats=REPEATS)
        rows[name] = {"seconds": Figure(value=seconds)}
    notes = [
        f"Seconds of one core of the machine that measured it, for {len(board.bank.queries)} queries and "
        f"{len(board.bank.examples)} training images at {board.draws} draws (drawn queries alone for methods that "
        "explain the way to a picture), each method by itself: features that several methods share are counted for "
        "each. Counted from the time of one batch of every store and of one kernel; standard errors are part of it.",
    ]
    return make_section("runtime", rows, notes)


def method_seconds(board: Board, method: Method) -> float:
    """Return the time of a method alone, as if no features were there: gradients, and scores with standard errors."""
    plan = FeaturePlan.of(board.request([method], board.draws, drawn=needs_drawn(method)))
    store = FeatureStore(board.work / "features")
    with one_thread():
        gradients = sum(
            batch_count(job, len(features.examples))
            * batch_seconds(job, features.examples, clock=time.process_time, repeats=REPEATS)
            for features, job in store.jobs(plan).items()
        )
        work = partial(compute_scores, plan, store, errors=False)
        scores = least_seconds(work, clock=time.process_time, repeats=REPEATS)
    return gradients + (1 + GROUPS) * scores


RUNTIME = SectionSpec(
    name="runtime",
    title="Runtime",
    question="What each method costs by itself. Methods that look at the same gradients cost less together than their "
    "sum.",
    measure=measure_runtime,
    version=2,
    overview={"seconds": "seconds"},
)
