"""The section ``runtime``: what each method costs by itself, in seconds of one core, whatever else the machine does."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from whence.attribution.method import Method
from whence.attribution.scoring import Seen
from whence.diffusion.examples import Examples
from whence.engine import one_thread
from whence.evaluation.leaderboard.attributions import chosen_methods
from whence.evaluation.leaderboard.board import PIXELS, Board, needs_drawn
from whence.evaluation.leaderboard.figures import Rows, made_section
from whence.evaluation.leaderboard.sections import Figure, Section
from whence.gradients.features import Sums, add_draws, batch_shape
from whence.gradients.store import Job
from whence.scores.jackknife import GROUPS
from whence.similarity.attributors import attributor

#: Times that a piece of work is done; the fastest counts.
REPEATS = 3


def runtime_section(board: Board) -> Section:
    """Measure the section."""
    rows: Rows = {}
    for one in chosen_methods(board):
        rows[one.name] = {"seconds": Figure(value=method_seconds(board, one)), "draws": Figure(value=board.draws)}
    asked = board.asked(False)
    for name in PIXELS:
        ask = attributor(name, board.bank.data)
        rows[name] = {"seconds": Figure(value=_fastest(partial(ask, asked.pictures, asked.names)))}
    notes = [
        f"Seconds of one core of the machine that measured it, for {len(board.bank.queries)} queries and "
        f"{len(board.bank.examples)} training images at {board.draws} draws (drawn queries alone for methods that "
        "explain the way to a picture), each method by itself: features that several methods share are counted for "
        "each. Counted from the time of one batch of every store and of one kernel; standard errors are part of it.",
    ]
    return made_section("runtime", rows, notes)


def method_seconds(board: Board, one: Method) -> float:
    """Return the time of a method alone, as if no features were there: gradients, and scores with standard errors."""
    work = board.request([one], board.draws, drawn=needs_drawn(one)).work(board.work / "features")
    looks = work.looks(one)
    with one_thread():
        gradients = sum(_job_seconds(job) for job in work.jobs.values())
        seen = Seen.open(looks[0], one.feature, work.examples.ids, work.query_names(one))
        kernel = _fastest(lambda: one.function(seen.evidence(0), one.damping))
    return gradients + (1 + GROUPS) * len(looks) * kernel


def _job_seconds(job: Job) -> float:
    """Time of all features of a store, from that of one batch."""
    request = job.request
    examples = Examples.read(request.examples)
    few = examples.head(request.batch)
    count, draws = batch_shape(len(few), request.batch)
    model, collector = request.subject.opened()

    def batch() -> None:
        found = {feature: Sums.empty(len(few), collector.maps.width) for feature in job.features}
        add_draws(model, collector, few, request.source, range(draws), found, request.batch)

    return _fastest(batch) * -(-len(examples) // count) * -(-job.draws // draws)


def _fastest(work: Callable[[], object]) -> float:
    """The least processor time of a call, in seconds, after one that is not counted."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times[1:])
