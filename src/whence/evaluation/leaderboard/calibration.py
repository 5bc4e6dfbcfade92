"""The section ``calibration``: are the measured changes of the losses as large as the predicted ones?"""

from __future__ import annotations

import numpy as np

from whence.attribution.methods import METHODS
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.folds import make_folds
from whence.evaluation.leaderboard.lds import POOL
from whence.evaluation.leaderboard.scores import reported_scores
from whence.evaluation.leaderboard.sections import Figure, Rows, Section, SectionSpec, make_figure, make_section
from whence.evaluation.prediction.calibration import Calibration, calibration
from whence.evaluation.prediction.lds import predictions
from whence.evaluation.prediction.retraining_methods import RETRAINING_METHODS
from whence.evaluation.query_kinds import Kind, Use, query_mask

#: Methods whose scores are in units of the loss, so that their slope should be 1.
IN_LOSS_UNITS = (
    *(name for name, method in METHODS.items() if method.loss_units),
    *(name.replace("-", " ") for name in RETRAINING_METHODS),
)


def measure_calibration(board: Board) -> Section:
    """Measure the section."""
    pool, rows = board.bank.pool(POOL), Rows()
    for name, (columns, scores) in reported_scores(board).items():
        losses = pool.mean[:, columns]
        rows[name] = _columns(name, calibration(predictions(~pool.kept, scores), losses - losses.mean(0)))
    _add_retraining_methods(board, rows)
    notes = [
        "Pool test, queries that are not for development: measured against predicted change of the loss where a subset "
        "leaves examples out. R2: mean over queries of the share of the differences between subsets that a line "
        "explains; intervals are over the subsets.",
        f"Slope: of all queries together, where 1 means that losses change as much as predicted. Only "
        f"{', '.join(IN_LOSS_UNITS)} are in units of the loss; that of others is left out, since it says nothing.",
        "Empirical influence and datamodels predict subsets that they were not fitted on.",
    ]
    return make_section("calibration", rows, notes)


def _columns(name: str, fit: Calibration) -> dict[str, Figure | None]:
    return {"slope": make_figure(fit.slope) if name in IN_LOSS_UNITS else None, "R2": make_figure(fit.query_r2)}


def _add_retraining_methods(board: Board, rows: Rows) -> None:
    """Add the methods that need retrained models: each half of the subsets is predicted by scores from the other."""
    bank, pool = board.bank, board.bank.pool(POOL)
    columns = np.flatnonzero(
        np.logical_or.reduce([query_mask(bank.drawn, bank.development, kind, Use.REPORTED) for kind in Kind])
    )
    folds = make_folds(bank, POOL)
    for name in folds[0].scores:
        predicted, measured = np.empty((2, len(pool.kept), len(columns)))
        for fold in folds:
            sums = predictions(~pool.kept[fold.rows], fold.scores[name][columns])
            losses = pool.mean[np.ix_(fold.rows, columns)]
            predicted[fold.rows], measured[fold.rows] = sums - sums.mean(0), losses - losses.mean(0)
        rows[name] = _columns(name, calibration(predicted, measured))


CALIBRATION = SectionSpec(
    name="calibration",
    title="Calibration",
    question="Do losses change by as much as was predicted? Rank correlations don't ask that.",
    measure=measure_calibration,
    pools=(POOL,),
)
