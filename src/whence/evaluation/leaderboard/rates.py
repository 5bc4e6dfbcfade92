"""False attribution of every method, on pictures that an encoded ensemble draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence.attribution.method import Method
from whence.attribution.request import AttributionRequest
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.ensemble import Ensemble, sample
from whence.evaluation.exact.false_attribution import false_attribution
from whence.evaluation.exact.false_rate import FalseAttribution
from whence.evaluation.leaderboard.attributions import chosen_methods
from whence.evaluation.leaderboard.board import PIXELS, RANDOM, Board
from whence.evaluation.leaderboard.queries import random_scores
from whence.evaluation.leaderboard.sections import Figure
from whence.scores.scores import Estimand, Scores
from whence.similarity.attributors import Attributor, attributor


def false_rates(board: Board, ensemble: Ensemble) -> dict[str, Figure | None]:
    """Return the false attribution rate of every method; None where it is undefined."""
    count = board.config.samples
    with board.progress("pictures of the ensemble") as report:
        sample(ensemble, count=count, seed=0, workers=board.workers, report=report)
    names, found = [f"0/{index}" for index in range(count)], {}
    for name, ask in _attributors(board, ensemble).items():
        with board.progress(f"false attribution of {name}") as report:
            found[name] = _rate(false_attribution(ensemble, names, ask, workers=board.workers, report=report))
    return found


def ensemble_methods(board: Board) -> list[Method]:
    """The gradient methods that are compared with an ensemble."""
    return [one for one in chosen_methods(board) if one.name in board.config.ensemble_methods]


def ask_members(board: Board, ensemble: Ensemble, queries: Examples, methods: Sequence[Method]) -> dict[str, Scores]:
    """Return scores by gradient methods, as the mean over the members of an ensemble."""
    settings = board.settings(board.config.ensemble_draws)
    request = AttributionRequest.of(ensemble, ensemble.data, queries, methods, settings)
    title = f"gradients of {len(queries)} pictures"
    return board.quick_scores(request, member_features(board), title)


def member_features(board: Board) -> Path:
    """Folder for features of the members."""
    return board.work / "ensembles" / "features"


def likenesses(board: Board, ensemble: Ensemble) -> dict[str, Attributor]:
    """Return attributors that take no gradients: random scores and likeness of pixels."""
    pixels = {name: attributor(name, ensemble.data) for name in PIXELS}
    return {RANDOM: lambda _, queries: _random(board, ensemble.data, queries), **pixels}


def _random(board: Board, data: Dataset, queries: Sequence[str]) -> Scores:
    """Random scores of any pictures, another order for each."""
    values = np.concatenate([random_scores(board, (1, len(data)), f"of {name}") for name in queries])
    nothing = Estimand("nothing", "none", "none", "none", "example")
    return Scores(
        torch.from_numpy(values).float(), tuple(queries), data.ids, data.units, RANDOM, nothing, "unsigned", "max"
    )


def _attributors(board: Board, ensemble: Ensemble) -> dict[str, Attributor]:
    """All methods as functions of pictures; gradient methods as the mean over the members."""

    def gradients(one: Method) -> Attributor:
        def ask(pictures: Tensor, names: Sequence[str]) -> Scores:
            scores = ask_members(board, ensemble, Examples(tuple(names), pictures), [one])[one.name]
            # What false attribution writes states the process in these words.
            return replace(scores, estimand=replace(scores.estimand, process="one step"))

        return ask

    return likenesses(board, ensemble) | {one.name: gradients(one) for one in ensemble_methods(board)}


def _rate(found: FalseAttribution) -> Figure | None:
    """The rate with its interval; by chance 1."""
    if found.rate is None or found.interval is None:
        return None
    return Figure(value=found.rate, low=found.interval.low, high=found.interval.high, chance=1.0)
