"""The section ``draws``: linear datamodeling scores by how many draws the gradients are the mean of."""

from __future__ import annotations

import numpy as np

from whence.evaluation.asked import Kind, Use, asked
from whence.evaluation.leaderboard.board import RANDOM, Board
from whence.evaluation.leaderboard.collect import collect
from whence.evaluation.leaderboard.figures import made_section, point
from whence.evaluation.leaderboard.lds import POOL, both_kinds
from whence.evaluation.leaderboard.sections import Point, Section
from whence.evaluation.prediction.lds_table import lds_table


def draws_section(board: Board) -> Section:
    """Measure the section."""
    bank, curves = board.bank, dict[str, list[Point]]()
    pool = bank.pool(POOL)
    for draws, found in collect(board).items():
        names = [name for name in board.config.followed if name in found.scores]
        tables = {}
        for kind in Kind:
            columns = np.flatnonzero(asked(bank.drawn, bank.development, kind, Use.REPORTED))
            if len(columns):
                rows = {name: found.scores[name][columns] for name in names}
                tables[kind] = lds_table(pool, columns, [bank.queries[q] for q in columns], rows)
        for name in names:
            curves.setdefault(name, []).append(point(draws, both_kinds(tables, name).mean))
    notes = [
        "Pool test, mean over held-out and drawn queries that are not for development, plain LDS; by chance 0 "
        f"({RANDOM}).",
        "More draws were added to those before. At each number of draws the damping is the one that is best there on "
        "the development pool and queries.",
    ]
    return made_section("draws", {}, notes, {"lds over draws": curves})
