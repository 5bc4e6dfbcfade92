"""The section ``ensemble``: agreement with the exact losses of an encoded ensemble, and false attribution.

WORK/ensembles/first/       an encoded ensemble on the bank's data
WORK/ensembles/second/      another one, with other code words and weights: the ceiling
WORK/ensembles/features/    features of the members; removed once the section is measured
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.request import AttributionRequest
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.ensemble import Ensemble, sample, train_ensemble
from whence.ensemble.losses import Losses
from whence.ensemble.make_losses import losses
from whence.evaluation.false_attribution import false_attribution
from whence.evaluation.ground_truth import AREA, CORRELATION, RECALL, GroundTruth, RankingAgreement
from whence.evaluation.leaderboard.board import PIXELS, RANDOM, Board
from whence.evaluation.leaderboard.scores import chosen_methods, held_out_queries, random_scores
from whence.evaluation.leaderboard.sections import Figure, Rows, Section, SectionSpec, make_figure, make_section
from whence.evaluation.prediction.ceiling import ceiling
from whence.retraining.rule import shorten_training
from whence.scores.scores import Estimand, Scores
from whence.seeds import derived_seed
from whence.similarity.attributors import Attributor, attributor

SECOND = "second codebook"
#: The mean over queries with an image above placebos is shown from so many queries on.
ENOUGH = 8


def measure_ensemble(board: Board) -> Section:
    """Measure the section."""
    first, second = (train_members(board, name, seed) for seed, name in enumerate(("first", "second")))
    queries = held_out_queries(board, board.config.ensemble_queries)
    truth = GroundTruth.of(first, _exact_losses(board, first, queries, 0))
    codebooks = truth.compare(_exact_losses(board, second, queries, 1).scores())
    correlation = codebooks.statistics()[CORRELATION].value
    most = float(ceiling(correlation, 1))
    rows: Rows = {SECOND: _columns(codebooks, most)}
    scores = {name: ask(queries.tensor, queries.ids) for name, ask in _pixel_attributors(board, first).items()}
    scores |= _member_scores(board, first, queries, _methods(board))
    for name, of_method in scores.items():
        rows[name] = _columns(truth.compare(of_method), most)
    for name, rate in _false_attribution_rates(board, first).items():
        rows[name]["false attribution"] = rate
    artefacts.discard(_member_features(board))
    return make_section("ensemble", rows, _notes(board, truth, correlation))


def train_members(board: Board, name: str, seed: int) -> Ensemble:
    """Train an ensemble on the bank's data, unless it is there; every example is a unit of its own."""
    data = board.bank.data
    units = replace(data.ungrouped, pixels=np.array(data.pixels), notes=())
    with board.progress(f"the {name} ensemble") as report:
        return train_ensemble(
            units,
            board.work / "ensembles" / name,
            members=board.config.members,
            config=training_config(board, seed),
            codebook_seed=seed,
            engine=Engine(board.workers, report),
        )


def training_config(board: Board, seed: int) -> Config:
    """Return the settings of a member: those of a model of the bank that sees half of the training examples."""
    count, seed = len(board.bank.data), derived_seed(board.config.seed, f"ensemble {seed}")
    return shorten_training(board.bank.config, count // 2, count).updated("training", seed=seed, checkpoints=0)


def _exact_losses(board: Board, ensemble: Ensemble, queries: Examples, seed: int) -> Losses:
    """Exact losses of every ablation."""
    with board.progress("exact losses") as report:
        return losses(ensemble, queries.tensor, list(queries.ids), seed=seed, engine=Engine(board.workers, report))


def _methods(board: Board) -> list[Method]:
    """The gradient methods that are compared with an ensemble."""
    return [method for method in chosen_methods(board) if method.name in board.config.ensemble_methods]


def _member_features(board: Board) -> Path:
    """Folder for features of the members."""
    return board.work / "ensembles" / "features"


def _member_scores(board: Board, ensemble: Ensemble, queries: Examples, methods: Sequence[Method]) -> dict[str, Scores]:
    """Scores by gradient methods, as the mean over the members of an ensemble."""
    settings = board.settings(board.config.ensemble_draws)
    request = AttributionRequest.of(ensemble, ensemble.data, queries, methods, settings)
    return board.quick_scores(request, _member_features(board), f"gradients of {len(queries)} pictures")


def _pixel_attributors(board: Board, ensemble: Ensemble) -> dict[str, Attributor]:
    """Attributors that take no gradients: random scores and likeness of pixels."""
    pixels = {name: attributor(name, ensemble.data) for name in PIXELS}
    return {RANDOM: lambda _, queries: _random_scores(board, ensemble.data, queries), **pixels}


def _random_scores(board: Board, data: Dataset, queries: Sequence[str]) -> Scores:
    """Random scores of any pictures, other numbers for each."""
    values = np.concatenate([random_scores(board, (1, len(data)), f"of {name}") for name in queries])
    nothing = Estimand("nothing", "none", "none", "none", "example")
    return Scores(
        torch.from_numpy(values).float(), tuple(queries), data.ids, data.units, RANDOM, nothing, "unsigned", "max"
    )


def _false_attribution_rates(board: Board, ensemble: Ensemble) -> dict[str, Figure | None]:
    """The false attribution rate of every method, by chance 1; None where it is undefined."""
    count, rates = board.config.samples, dict[str, Figure | None]()
    with board.progress("pictures of the ensemble") as report:
        sample(ensemble, count=count, seed=0, engine=Engine(board.workers, report))
    samples = [f"0/{index}" for index in range(count)]
    members = {method.name: _member_attributor(board, ensemble, method) for method in _methods(board)}
    for name, ask in (_pixel_attributors(board, ensemble) | members).items():
        with board.progress(f"false attribution of {name}") as report:
            result = false_attribution(ensemble, samples, ask, engine=Engine(board.workers, report))
        rates[name] = None
        if result.rate is not None and result.interval is not None:
            low, high = result.interval.low, result.interval.high
            rates[name] = Figure(value=result.rate, low=low, high=high, chance=1.0)
    return rates


def _member_attributor(board: Board, ensemble: Ensemble, method: Method) -> Attributor:
    """A gradient method as a function of pictures."""

    def ask(pictures: Tensor, names: Sequence[str]) -> Scores:
        scores = _member_scores(board, ensemble, Examples(tuple(names), pictures), [method])[method.name]
        # What false attribution writes states the process in these words.
        return replace(scores, estimand=replace(scores.estimand, process="one step"))

    return ask


def _columns(agreement: RankingAgreement, most: float) -> dict[str, Figure | None]:
    """The figures of a ranking of the units."""
    statistics, queries = agreement.statistics(), int((~np.isnan(agreement.above.areas)).sum())
    return {
        "rank correlation": make_figure(statistics.get(CORRELATION), most),
        "recall at 10": make_figure(statistics.get(RECALL)),
        "above placebo AUC": make_figure(statistics.get(AREA)) if queries >= ENOUGH else None,
    }


def _notes(board: Board, truth: GroundTruth, correlation: float) -> list[str]:
    config = board.config
    return [
        f"An encoded ensemble of {config.members} members is trained on the bank's training images, each a unit of its "
        f"own. The truth is its exact loss without each image, on {len(truth.queries)} held-out queries. Scores are "
        f"means over the members, at {config.ensemble_draws} draws. Intervals are over queries.",
        f"{int(truth.above.any(1).sum())} queries have an image above placebos. The area under the ROC curve is over "
        f"these, and left out where they are fewer than {ENOUGH}.",
        "The exact losses of a second ensemble, with other code words, agree at a rank correlation of "
        f"{correlation:.3f}. A perfect ranking of the images would reach about the square root of it: the ceiling. "
        "Where the ceiling is near 0, the order of single images by exact losses is mostly chance of the code words, "
        "which no method can know.",
        f"False attribution, over {config.samples} pictures that the ensemble draws: how often a method names the same "
        "image again when the picture is drawn by members that never saw this image, divided by how often when they "
        "never saw another image. At 0 the attribution follows the removal, at 1 it does not.",
    ]


ENSEMBLE = SectionSpec(
    name="ensemble",
    title="Exact losses of an encoded ensemble",
    question="An encoded ensemble knows exactly what its loss would be without each image. How well do estimates "
    "agree? And do they stop naming an image that was removed (false attribution, less is better)?",
    measure=measure_ensemble,
    version=2,
)
