"""Scores of the bank's first model at 10, 50, 100 ... draws, and the section ``choices``: the damping of each method.

WORK/features/       the features, which grow with the draws
WORK/draws/00010/    at 10 draws: the development LDS of every method at every damping, and scores at the best damping
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import DAMPING, Method
from whence.attribution.methods import METHODS
from whence.engine import Engine
from whence.errors import MismatchError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.pool import Pool
from whence.evaluation.leaderboard.board import Board, needs_drawn
from whence.evaluation.leaderboard.sections import Point, Rows, Section, SectionSpec, make_section, plain_figure
from whence.evaluation.prediction.lds import lds
from whence.evaluation.queries import DEVELOPMENT, Kind, Use, query_places

KIND = "leaderboard draws"


@dataclass(frozen=True, eq=False)
class Development:
    """Development LDS by method and damping at a number of draws, and scores at the best damping, float32 [Q, N].

    There are no scores of methods that attribute drawn queries alone.
    """

    lds: dict[str, dict[float, float]]
    scores: dict[str, np.ndarray]

    def damping(self, method: Method) -> float:
        """Return the damping that was chosen for a method."""
        return choose_damping(method, self.lds.get(method.name, {}))


def develop(board: Board) -> dict[int, Development]:
    """Make features, and return the results at each number of draws; before the last, of the followed methods alone."""
    return {draws: _develop(board, draws) for draws in sorted({*board.config.draws})}


def development_lds(bank: Bank, queries: Sequence[str], scores: np.ndarray) -> float:
    """Return the LDS of scores [Q, N] by which settings are chosen: plain, on the development pool, mean over kinds."""
    pool, row, means = bank.pool(DEVELOPMENT), {name: q for q, name in enumerate(queries)}, []
    for kind in Kind:
        places = query_places(bank, kind, use=Use.DEVELOPMENT).tolist()
        columns = [q for q in places if bank.queries[q] in row]
        if columns:
            means.append(_mean_lds(pool, columns, scores[[row[bank.queries[q]] for q in columns]]))
    return float(np.mean(means))


def choose_damping(method: Method, lds: Mapping[float, float]) -> float:
    """Return the damping of the largest development LDS, the larger one of equal values.

    A method that states a damping of its own keeps it: its author also looked at deletions, on data for development.
    Where no LDS is known, the method keeps the usual damping.
    """
    if method.damping != DAMPING:
        return method.damping
    defined = {damping: value for damping, value in lds.items() if np.isfinite(value)}
    return max(defined, key=lambda damping: (defined[damping], damping), default=method.damping)


def _mean_lds(pool: Pool, columns: list[int], scores: np.ndarray) -> float:
    """Mean LDS over the queries that have one; NaN if none has."""
    values = lds(pool.kept, scores, pool.mean[:, columns])
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _develop(board: Board, draws: int) -> Development:
    """Results at a number of draws, which are made unless they are there; other results are replaced."""
    path = board.work / "draws" / f"{draws:05d}"
    pool = artefacts.read_manifest(board.bank.path / "pools" / DEVELOPMENT, "pool").fingerprint
    inputs = {"bank": board.bank.manifest.fingerprint, "development": pool}
    made: dict[str, Any] = {
        "methods": [[method.name, method.damping] for method in _methods(board, draws)],
        "dampings": list(board.config.dampings),
        "config": board.settings(draws).record(),
    }

    def build(part: Path) -> None:
        results = _measure(board, draws)
        table = [[name, list(by_damping.items())] for name, by_damping in results.lds.items()]
        scores = {name: torch.from_numpy(values) for name, values in results.scores.items()}
        artefacts.write_json(part / "development.json", table)
        artefacts.write_tensors(part / "scores.safetensors", scores)

    try:
        is_there = artefacts.existing(path, KIND, inputs=inputs, made=made) is not None
    except MismatchError:
        artefacts.discard(path)
        is_there = False
    if not is_there:
        artefacts.discard(Path(f"{path}.part"))
        artefacts.ensure(path, KIND, inputs=inputs, made=made, build=build)
    tensors = artefacts.read_tensors(path / "scores.safetensors")
    table = {name: dict(map(tuple, pairs)) for name, pairs in artefacts.read_json(path / "development.json")}
    return Development(table, {name: values.numpy() for name, values in tensors.items()})


def _methods(board: Board, draws: int) -> list[Method]:
    """The methods that are measured at a number of draws."""
    return [method for method in board.methods if draws == board.draws or method.name in board.config.followed]


def _measure(board: Board, draws: int) -> Development:
    """Extend the features to a number of draws, and measure every method at every damping."""
    results, store = Development({}, {}), FeatureStore(board.work / "features")
    for drawn in (False, True):
        methods = [method for method in _methods(board, draws) if needs_drawn(method) == drawn]
        if not methods:
            continue
        plan = FeaturePlan.of(board.request(methods, draws, drawn=drawn), board.config.dampings)
        with board.progress(f"gradients at {draws} draws") as report:
            store.extend(plan, shorten=True, engine=Engine(board.workers, report))
        scores = compute_scores(plan, store, errors=False, dampings=board.config.dampings)
        for method in methods:
            by_damping = {c: (s.queries, s.scores.numpy()) for c, s in scores[method.name].items()}
            results.lds[method.name] = {c: development_lds(board.bank, *s) for c, s in by_damping.items()}
            best = results.damping(method)
            if not drawn and best in by_damping:
                results.scores[method.name] = by_damping[best][1].astype(np.float32)
    return results


def measure_choices(board: Board) -> Section:
    """Measure the section ``choices``."""
    development = develop(board)[board.draws]
    damped = [method for method in board.methods if method.damped]
    curves = {
        method.name: [
            Point(damping, value, None, None)
            for damping, value in sorted(development.lds[method.name].items())
            if np.isfinite(value)
        ]
        for method in damped
    }
    notes = [
        "The plain LDS on the development pool and the development queries, mean over held-out and drawn queries. No "
        "figure of another section is on this pool or these queries.",
        f"Damping is a multiple of the mean eigenvalue of the kernel, at {board.draws} draws. A value is missing where "
        "rounding errors, or a leverage of 1, would spoil the scores.",
    ]
    rows: Rows = {name: {"damping": plain_figure(development.damping(METHODS[name]))} for name in curves}
    stated = [f"{method.name} ({method.damping:g})" for method in damped if method.damping != DAMPING]
    if stated:
        notes.append(
            f"A method that states its own damping keeps it: {', '.join(stated)}. It was chosen on deletions on "
            "development data as well as on development LDS."
        )
    return make_section("choices", rows, notes, {"damping": curves})


CHOICES = SectionSpec(
    name="choices",
    title="How the damping was chosen",
    question="It was chosen on subsets and queries that no other section reports on. Papers choose it on the figure "
    "that they report, and so report the best of several tries.",
    measure=measure_choices,
    curve_head="method, by damping",
)
