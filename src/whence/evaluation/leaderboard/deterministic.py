"""The section ``deterministic``: linear datamodeling scores where the run itself is repeated without some examples."""

from __future__ import annotations

from whence.evaluation.bank.build import REMOVED
from whence.evaluation.leaderboard.attributions import attributions
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.figures import Rows, figure, made_section
from whence.evaluation.leaderboard.lds import both_kinds
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.prediction.bank_lds import bank_lds
from whence.evaluation.prediction.ceiling import DETERMINISTIC

#: Pools of the section by column.
POOLS = {share: DETERMINISTIC + share for share in REMOVED}


def deterministic_section(board: Board) -> Section:
    """Measure the section."""
    pools = {column: pool for column, pool in POOLS.items() if pool in board.bank.pools}
    if not pools:
        return made_section("deterministic", {}, ["The bank has no deterministic pools."])
    given, rows, subsets = attributions(board), Rows(), {}
    for column, pool in pools.items():
        tables = bank_lds(board.bank, given, pool)
        names = dict.fromkeys(row.name for table in tables.values() for row in table.rows)
        for name in names:
            rows.setdefault(name, {})[column] = figure(both_kinds(tables, name).mean, ceiling=1.0)
        subsets[column] = len(board.bank.pool(pool).kept)
    counted = ", ".join(f"{count} subsets without {column}" for column, count in subsets.items())
    notes = [
        "The same run, seed, order and draws, with weight 0 for the examples that are removed: what influence "
        f"functions estimate. {counted} of the training images. No noise of seeds, so the ceiling is 1.",
        "Mean over held-out and drawn queries that are not for development; of methods that explain the way to a "
        "picture, over drawn ones.",
    ]
    return made_section("deterministic", rows, notes)
