"""Scores of the bank's queries by methods at their chosen damping, by pixels and at random, and what they cost.

WORK/scores/METHOD/          scores of all queries, with standard errors
WORK/scores-drawn/METHOD/    of methods that explain the way to a picture: of the drawn queries
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.attribution.attribution_cost import batch_count, batch_seconds, least_seconds
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.scores_folder import ScoresFolder
from whence.diffusion.examples import Examples
from whence.engine import Engine, one_thread
from whence.errors import MismatchError
from whence.evaluation.bank.alignment import KINDS, align_scores
from whence.evaluation.leaderboard.board import PIXELS, RANDOM, Board, needs_drawn
from whence.evaluation.leaderboard.development import develop
from whence.evaluation.leaderboard.sections import Figure, Rows, Section, SectionSpec, make_section
from whence.evaluation.queries import Kind, query_places
from whence.scores.jackknife import GROUPS
from whence.scores.stored import StoredScores, read_scores
from whence.seeds import derived_seed
from whence.similarity.attributors import attributor

#: Number of times that a piece of work is timed; the fastest counts.
REPEATS = 3


@cache
def chosen_methods(board: Board) -> tuple[Method, ...]:
    """The gradient methods, each at the damping that was chosen for it."""
    development = develop(board)[board.draws]
    return tuple(
        replace(method, damping=development.damping(method)) if method.damped else method for method in board.methods
    )


@cache
def stored_scores(board: Board) -> tuple[StoredScores, ...]:
    """Return scores of the bank's queries by every method; scores that are not there are computed."""
    folders = []
    for name, drawn in (("scores", False), ("scores-drawn", True)):
        methods = [method for method in chosen_methods(board) if needs_drawn(method) == drawn]
        pixels = () if drawn else PIXELS
        _attribute(board, board.work / name, methods, pixels, drawn=drawn)
        folders += [board.work / name / method for method in (*(method.name for method in methods), *pixels)]
    return read_scores(folders)


def _attribute(board: Board, out: Path, methods: list[Method], pixels: Sequence[str], *, drawn: bool) -> None:
    """Compute the scores that are not there, or were computed with other settings."""
    names: list[Method | str] = [method for method in methods if not _is_there(board, out / method.name, method)]
    names += [name for name in pixels if not (out / name).is_dir()]
    if not names:
        return
    if methods:
        try:
            ScoresFolder(out, board.request(methods, board.draws, drawn=drawn)).is_claimed()
        except MismatchError:
            artefacts.discard(out)
    with board.progress("scores") as report:
        attribute(
            board.target,
            board.bank.data,
            board.queries(drawn),
            names,
            config=board.settings(board.draws),
            out=out,
            store=board.work / "features",
            engine=Engine(board.workers),
            scored=report,
        )


def _is_there(board: Board, path: Path, method: Method) -> bool:
    """Whether the scores of a method are there, with as many draws and this damping."""
    if not path.is_dir():
        return False
    made = artefacts.read_manifest(path, "scores").made
    return bool(made["config"] == board.settings(board.draws).record() | {"damping": method.damping})


def reported_scores(board: Board, kinds: Sequence[Kind] = KINDS) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the places of the queries in the bank and their scores [Q, N], for every method and for random scores.

    Methods that have no scores for one of the kinds are left out.
    """
    aligned = list(align_scores(board.bank, stored_scores(board), kinds).values())
    names = [name for name in aligned[0].methods if all(name in of_kind.methods for of_kind in aligned)]
    columns = np.concatenate([of_kind.columns for of_kind in aligned])
    scores = {name: np.concatenate([of_kind.methods[name] for of_kind in aligned]) for name in names}
    scores[RANDOM] = random_scores(board, (len(columns), len(board.bank.examples)))
    return {name: (columns, values) for name, values in scores.items()}


def held_out_queries(board: Board, count: int | None = None) -> Examples:
    """Return the first held-out queries that are not for development; by default all of them."""
    bank = board.bank
    rows = query_places(bank, Kind.HELD_OUT)[:count]
    return bank.encoders.encode_queries(bank.queries_data.select(rows))


def random_scores(board: Board, shape: tuple[int, int], purpose: str = "scores") -> np.ndarray:
    """Return random normal numbers."""
    return np.random.default_rng(derived_seed(board.config.seed, f"random {purpose}")).normal(size=shape)


def measure_runtime(board: Board) -> Section:
    """Measure the section ``runtime``."""
    rows: Rows = {}
    for method in chosen_methods(board):
        seconds = method_seconds(board, method)
        rows[method.name] = {"seconds": Figure(value=seconds), "draws": Figure(value=board.draws)}
    queries = board.queries(False)
    for name in PIXELS:
        work = partial(attributor(name, board.bank.data), queries.tensor, queries.ids)
        seconds = least_seconds(work, clock=time.process_time, repeats=REPEATS)
        rows[name] = {"seconds": Figure(value=seconds)}
    notes = [
        f"Seconds of one core of the machine that measured it, for {len(board.bank.queries)} queries and "
        f"{len(board.bank.examples)} training images at {board.draws} draws (drawn queries alone for methods that "
        "explain the way to a picture), each method by itself: features that several methods share are counted for "
        "each. Counted from the time of one batch of every store and of one kernel; standard errors are part of it."
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
