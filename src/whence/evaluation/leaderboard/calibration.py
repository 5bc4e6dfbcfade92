"""The section ``calibration``: are the measured changes of the losses as large as the predicted ones?"""

from __future__ import annotations

import numpy as np

from whence.evaluation.asked import Kind, Use, asked
from whence.evaluation.leaderboard.board import RANDOM, Board
from whence.evaluation.leaderboard.figures import Rows, figure, made_section
from whence.evaluation.leaderboard.folds import folds
from whence.evaluation.leaderboard.lds import POOL
from whence.evaluation.leaderboard.queries import reported
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.prediction.calibration import Calibration, calibration
from whence.evaluation.prediction.lds import predictions

#: Methods whose scores are in units of the loss, so that their slope should be 1.
CLAIMING = ("tracin", "empirical influence", "datamodel")


def calibration_section(board: Board) -> Section:
    """Measure the section."""
    pool, rows = board.bank.pool(POOL), Rows()
    for name, (columns, scores) in reported(board).items():
        measured = pool.mean[:, columns]
        _add(rows, name, calibration(predictions(~pool.kept, scores), measured - measured.mean(0)))
    _add_retrained(board, rows)
    notes = [
        "Pool test, queries that are not for development: measured against predicted change of the loss where a subset "
        "leaves examples out. R2: mean over queries of the share of the differences between subsets that a line "
        "explains; intervals are over the subsets.",
        f"Slope: of all queries together, where 1 means that losses change as much as predicted. Only "
        f"{', '.join(CLAIMING)} are in units of the loss; that of others is left out, since it says nothing.",
        "Empirical influence and datamodels predict subsets that they were not fitted on.",
    ]
    return made_section("calibration", rows, notes)


def _add(rows: Rows, name: str, found: Calibration) -> None:
    slope = figure(found.slope) if name in CLAIMING and name != RANDOM else None
    rows[name] = {"slope": slope, "R2": figure(found.query_r2)}


def _add_retrained(board: Board, rows: Rows) -> None:
    """Add the methods that need retrained models: each half of the subsets predicted by scores from the other."""
    bank, pool = board.bank, board.bank.pool(POOL)
    columns = np.flatnonzero(
        np.logical_or.reduce([asked(bank.drawn, bank.development, kind, Use.REPORTED) for kind in Kind])
    )
    pair = folds(bank, POOL)
    for name in pair[0].scores:
        predicted, measured = np.empty((2, len(pool.kept), len(columns)))
        for fold in pair:
            own = predictions(~pool.kept[fold.rows], fold.scores[name][columns])
            losses = pool.mean[np.ix_(fold.rows, columns)]
            predicted[fold.rows], measured[fold.rows] = own - own.mean(0), losses - losses.mean(0)
        _add(rows, name, calibration(predicted, measured))
