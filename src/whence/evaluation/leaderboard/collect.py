"""Features of the bank's first model at 10, 50, 100 ... draws: one store that grows, and what was seen on the way.

WORK/features/       the store
WORK/draws/00010/    at 10 draws: the development LDS of every method at every damping, and scores at the best one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.errors import MismatchError
from whence.evaluation.leaderboard.board import Board, needs_drawn
from whence.evaluation.leaderboard.damping import damping_of, development_lds
from whence.evaluation.tuning import DEVELOPMENT

KIND = "leaderboard draws"


@dataclass(frozen=True, eq=False)
class Collected:
    """What was seen at a number of draws.

    Attributes:
        draws: Draws per picture.
        measured: Development LDS by method and damping.
        scores: Of the methods that look at all queries: scores at the best damping, float32 [Q, N].
    """

    draws: int
    measured: dict[str, dict[float, float]]
    scores: dict[str, np.ndarray]

    def damping(self, one: Method) -> float:
        """The damping that was chosen for a method."""
        return damping_of(one, self.measured.get(one.name, {}))


def collect(board: Board) -> dict[int, Collected]:
    """Return what is seen at each number of draws, all but the last for the followed methods alone; makes features."""
    return {draws: _collected(board, draws) for draws in sorted({*board.config.draws})}


def _collected(board: Board, draws: int) -> Collected:
    place, (inputs, made) = board.work / "draws" / f"{draws:05d}", _stated(board, draws)
    try:
        found = artefacts.existing(place, KIND, inputs=inputs, made=made)
    except MismatchError:
        artefacts.discard(place)
        found = None
    if found is None:
        artefacts.discard(Path(f"{place}.part"))
        measured, scores = _measure(board, draws)
        with artefacts.create(place, KIND, inputs=inputs, made=made) as part:
            artefacts.write_json(part / "development.json", [[n, list(own.items())] for n, own in measured.items()])
            artefacts.write_tensors(part / "scores.safetensors", {n: torch.from_numpy(s) for n, s in scores.items()})
    tensors = artefacts.read_tensors(place / "scores.safetensors")
    table = {name: dict(map(tuple, own)) for name, own in artefacts.read_json(place / "development.json")}
    return Collected(draws, table, {name: values.numpy() for name, values in tensors.items()})


def _stated(board: Board, draws: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What it is made from, and how."""
    pool = artefacts.read_manifest(board.bank.path / "pools" / DEVELOPMENT, "pool").fingerprint
    settings, names = board.settings(draws).record(), [one.name for one in _methods(board, draws)]
    made = {"methods": names, "dampings": list(board.config.dampings), "config": settings}
    return {"bank": board.bank.manifest.fingerprint, "development": pool}, made


def _methods(board: Board, draws: int) -> tuple[Method, ...]:
    """The methods that are measured at so many draws."""
    return tuple(one for one in board.methods if draws == board.draws or one.name in board.config.followed)


def _measure(board: Board, draws: int) -> tuple[dict[str, dict[float, float]], dict[str, np.ndarray]]:
    """Development LDS by method and damping, and the scores [Q, N] at the best one."""
    measured: dict[str, dict[float, float]] = {}
    scores: dict[str, np.ndarray] = {}
    for drawn in (False, True):
        methods = [one for one in _methods(board, draws) if needs_drawn(one) == drawn]
        if methods:
            _add(board, methods, draws, drawn, measured, scores)
    return measured, scores


def _add(
    board: Board,
    methods: Sequence[Method],
    draws: int,
    drawn: bool,
    measured: dict[str, dict[float, float]],
    scores: dict[str, np.ndarray],
) -> None:
    """Measure the methods that ask for one kind of queries."""
    plan, store = FeaturePlan.of(board.request(methods, draws, drawn=drawn)), FeatureStore(board.work / "features")
    with board.progress(f"gradients at {draws} draws") as report:
        store.extend(plan, shorten=True, workers=board.workers, report=report)
    by_damping = compute_scores(plan, store, errors=False, dampings=board.config.dampings)
    for one in methods:
        found = {c: (own.queries, own.scores.numpy()) for c, own in by_damping[one.name].items()}
        measured[one.name] = {c: development_lds(board.bank, *own) for c, own in found.items()}
        best = damping_of(one, measured[one.name])
        if not drawn and best in found:
            scores[one.name] = found[best][1].astype(np.float32)
