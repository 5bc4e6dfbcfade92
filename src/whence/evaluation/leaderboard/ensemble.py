"""The section ``ensemble``: agreement with the exact losses of an encoded ensemble, and false attribution.

WORK/ensembles/first/     an encoded ensemble on the bank's data
WORK/ensembles/second/    another one, with other code words and weights: the ceiling
    WORK/ensembles/features/  of the members; removed once the section is measured
"""

from __future__ import annotations

import numpy as np

from whence import artefacts
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.ensemble import Ensemble, train_ensemble
from whence.ensemble.losses import Losses
from whence.ensemble.residuals import losses
from whence.evaluation.asked import Kind, Use, asked
from whence.evaluation.bank.retrain import shortened
from whence.evaluation.exact.ground_truth import AREA, CORRELATION, RECALL, Figures, GroundTruth
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.figures import Rows, figure, made_section
from whence.evaluation.leaderboard.rates import (
    ask_members,
    ensemble_methods,
    false_rates,
    likenesses,
    member_features,
)
from whence.evaluation.leaderboard.sections import Figure, Section
from whence.evaluation.prediction.ceiling import ceiling
from whence.scores.scores import Scores
from whence.seeds import derived_seed

SECOND = "second codebook"
#: Queries with an image above placebos from which on their mean says something.
ENOUGH = 8


def ensemble_section(board: Board) -> Section:
    """Measure the section."""
    first, second = (trained(board, name, seed) for seed, name in enumerate(("first", "second")))
    queries = held_out(board)
    truth = GroundTruth.of(first, _exact(board, first, queries, 0))
    other = truth.compare(_exact(board, second, queries, 1).scores())
    agreed = other.measures()[CORRELATION].value
    most = float(ceiling(agreed, 1))
    rows: Rows = {SECOND: _columns(other, most)}
    for name, scores in _scores(board, first, queries).items():
        rows[name] = _columns(truth.compare(scores), most)
    for name, rate in false_rates(board, first).items():
        rows[name]["false attribution"] = rate
    artefacts.discard(member_features(board))
    return made_section("ensemble", rows, _notes(board, truth, agreed))


def trained(board: Board, name: str, seed: int) -> Ensemble:
    """Return an ensemble on the bank's data, every example a unit, trained as the bank's models on half of it are."""
    data = board.bank.data
    units = Dataset(data.ids, np.array(data.pixels), tuple((own,) for own in data.ids), data.captions)
    with board.progress(f"the {name} ensemble") as report:
        return train_ensemble(
            units,
            board.work / "ensembles" / name,
            members=board.config.members,
            config=training_config(board, seed),
            codebook_seed=seed,
            workers=board.workers,
            report=report,
        )


def training_config(board: Board, seed: int) -> Config:
    """Return the settings of a member, which sees half of the training examples."""
    count, seed = len(board.bank.data), derived_seed(board.config.seed, f"ensemble {seed}")
    return shortened(board.bank.config, count // 2, count).updated("training", seed=seed, checkpoints=0)


def held_out(board: Board) -> Examples:
    """Return the first held-out queries that are not for development."""
    bank = board.bank
    rows = np.flatnonzero(asked(bank.drawn, bank.development, Kind.HELD_OUT, Use.REPORTED))
    rows = rows[: board.config.ensemble_queries]
    return Examples(tuple(bank.queries[q] for q in rows), bank.queries_data.images(rows))


def _exact(board: Board, ensemble: Ensemble, queries: Examples, seed: int) -> Losses:
    """Exact losses of every ablation."""
    with board.progress("exact losses") as report:
        return losses(ensemble, queries.values, list(queries.ids), seed=seed, workers=board.workers, report=report)


def _scores(board: Board, ensemble: Ensemble, queries: Examples) -> dict[str, Scores]:
    """Scores of held-out pictures by every method, as the mean over the members."""
    found = {name: ask(queries.values, queries.ids) for name, ask in likenesses(board, ensemble).items()}
    return found | ask_members(board, ensemble, queries, ensemble_methods(board))


def _columns(found: Figures, most: float) -> dict[str, Figure | None]:
    """The figures of a ranking of the units."""
    measures, queries = found.measures(), int((~np.isnan(found.above.areas)).sum())
    return {
        "rank correlation": figure(measures.get(CORRELATION), most),
        "recall at 10": figure(measures.get(RECALL)),
        "above placebo AUC": figure(measures.get(AREA)) if queries >= ENOUGH else None,
    }


def _notes(board: Board, truth: GroundTruth, agreed: float) -> list[str]:
    config = board.config
    return [
        f"An encoded ensemble of {config.members} members on the bank's training images, each a unit of its own. Its "
        f"exact loss without each image, on {len(truth.queries)} held-out queries, is what the scores of the mean over "
        f"the members at {config.ensemble_draws} draws are compared with; intervals are over queries.",
        f"{int(truth.above.any(1).sum())} queries have an image above placebos. The area under the ROC curve is over "
        f"these, and left out where they are fewer than {ENOUGH}.",
        f"A second ensemble with other code words agrees at a rank correlation of {agreed:.3f}; a perfect ranking of "
        "the images would reach about its square root, the ceiling. The closer that is to 0, the more of what the "
        "exact losses say of single images is chance of the code words, which no method can know.",
        f"False attribution: over {config.samples} pictures that the ensemble draws, how often the image that a method "
        "names is still named once no member that draws has seen it, divided by how often it is after another image's "
        "removal: 0 follows the removal, 1 does not.",
    ]
