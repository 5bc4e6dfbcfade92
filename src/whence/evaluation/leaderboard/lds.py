"""The sections ``lds`` and ``deterministic``: linear datamodeling scores on retrained and on repeated runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from whence.evaluation.bank.make_pool import REMOVED
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.folds import Fold, fold_lds, make_folds, mean_over_folds
from whence.evaluation.leaderboard.scores import stored_scores
from whence.evaluation.leaderboard.sections import (
    Figure,
    Rows,
    Section,
    SectionSpec,
    make_figure,
    make_section,
    plain_figure,
)
from whence.evaluation.prediction.bank_measures import bank_lds
from whence.evaluation.prediction.ceiling import DETERMINISTIC
from whence.evaluation.prediction.lds import Form
from whence.evaluation.prediction.lds_table import RANDOM, LdsTable
from whence.evaluation.query_kinds import Kind, Use, query_mask
from whence.statistics.correlations import Correlations, difference

#: The pool of retrained models that figures are reported on.
POOL = "test"
#: Pools of repeated runs by column: the share of the data that is removed.
REPEATED_RUNS = {share: DETERMINISTIC + share for share in REMOVED}

NOTES = (
    "Pool test, queries that are not for development. Intervals are over the subsets, the ceiling is from the training "
    "seeds of the same subsets.",
    "Squared: each score times its absolute value; the published variant is the mean of 64 resamples of the subsets.",
    "Empirical influence and datamodels are fitted on one half of the test subsets and the development pool and "
    "measured on the other half, then the other way round: the mean of both.",
    "The difference to the best method is over both kinds of queries, paired by subset and query; for empirical "
    "influence and datamodels it is on the same halves.",
    "The damping of each method was chosen on the development pool and the development queries.",
)


def measure_lds(board: Board) -> Section:
    """Measure the section ``lds``."""
    stored = stored_scores(board)
    plain = bank_lds(board.bank, stored, POOL)
    squared = bank_lds(board.bank, stored, POOL, form=Form.SIGNED_SQUARES)
    rows: Rows = {}
    for kind, table in plain.items():
        for row in table.rows:
            rows.setdefault(row.name, {}).update(_columns(kind, row.lds, table))
    for kind, table in squared.items():
        for row in table.rows:
            rows[row.name][f"{kind} squared"] = make_figure(row.lds.mean, _ceiling(table))
    best = _add_differences(plain, rows)
    _add_retraining_methods(board, plain, best, rows)
    return make_section("lds", rows, [*NOTES, f"The best method by the plain score of both kinds is {best}."])


def measure_deterministic(board: Board) -> Section:
    """Measure the section ``deterministic``."""
    pools = {share: pool for share, pool in REPEATED_RUNS.items() if pool in board.bank.pools}
    if not pools:
        return make_section("deterministic", {}, ["The bank has no deterministic pools."])
    stored, rows = stored_scores(board), Rows()
    for share, pool in pools.items():
        tables = bank_lds(board.bank, stored, pool)
        for name in dict.fromkeys(row.name for table in tables.values() for row in table.rows):
            rows.setdefault(name, {})[share] = make_figure(join_kinds(tables, name).mean, ceiling=1.0)
    subsets = {share: len(board.bank.pool(pool).kept) for share, pool in pools.items()}
    counted = ", ".join(f"{count} subsets without {share}" for share, count in subsets.items())
    notes = [
        "The same run, seed, order and draws, with weight 0 for the examples that are removed: what influence "
        f"functions estimate. {counted} of the training images. No noise of seeds, so the ceiling is 1.",
        "Mean over held-out and drawn queries that are not for development; of methods that explain the way to a "
        "picture, over drawn ones.",
    ]
    return make_section("deterministic", rows, notes)


def join_kinds(tables: Mapping[Kind, LdsTable], name: str) -> Correlations:
    """Return the correlations of a method for all kinds of queries, NaN where it has none."""
    parts = []
    for table in tables.values():
        lds = next((row.lds for row in table.rows if row.name == name), None)
        shape = (len(table.queries), table.rows[0].lds.resampled.shape[1])
        parts.append(lds or Correlations(np.full(shape[0], np.nan), np.full(shape, np.nan)))
    return _joined(parts)


def _joined(parts: Sequence[Correlations]) -> Correlations:
    """Correlations of several groups of queries as one."""
    return Correlations(
        np.concatenate([part.of_query for part in parts]), np.concatenate([part.resampled for part in parts])
    )


def _columns(kind: Kind, lds: Correlations, table: LdsTable) -> dict[str, Figure | None]:
    """The columns of the plain LDS of a method for a kind of query."""
    return {
        str(kind): make_figure(lds.mean, _ceiling(table)),
        f"published variant {kind}": plain_figure(lds.published[0], chance=0.0),
    }


def _ceiling(table: LdsTable) -> float | None:
    return None if table.ceiling is None else table.ceiling.value


def _add_differences(tables: Mapping[Kind, LdsTable], rows: Rows) -> str:
    """Add the differences to the best of the methods that have all queries, and return its name."""
    every = {name: join_kinds(tables, name) for name in rows}
    methods = [{row.name for row in table.rows} for table in tables.values()]
    means = {name: lds.mean.value for name, lds in every.items() if all(name in names for names in methods)}
    best = max((name for name in means if name != RANDOM), key=lambda name: np.nan_to_num(means[name], nan=-1.0))
    subsets = next(iter(tables.values())).subsets
    for name, lds in every.items():
        if name != best:
            rows[name]["difference to best"] = make_figure(difference(lds, every[best], subsets=subsets).statistic)
    return best


def _add_retraining_methods(board: Board, tables: Mapping[Kind, LdsTable], best: str, rows: Rows) -> None:
    """Add the methods that need retrained models, and their differences to the best method on the same halves."""
    bank, folds = board.bank, make_folds(board.bank, POOL)
    leader = bank.require(*next((s.scores, s.manifest) for s in stored_scores(board) if s.name == best))
    scores = [{**fold.scores, best: leader.scores.double().numpy()} for fold in folds]
    of_kinds: dict[str, list[Correlations]] = {}
    for kind, table in tables.items():
        columns = np.flatnonzero(query_mask(bank.drawn, bank.development, kind, Use.REPORTED))
        for name in scores[0]:
            of_folds = [of_fold[name][columns] for of_fold in scores]
            plain = _on_folds(board, folds, of_folds, columns, Form.PLAIN)
            of_kinds.setdefault(name, []).append(plain)
            if name != best:
                squared = _on_folds(board, folds, of_folds, columns, Form.SIGNED_SQUARES)
                row = rows.setdefault(name, {})
                row.update(_columns(kind, plain, table))
                row[f"{kind} squared"] = make_figure(squared.mean, _ceiling(table))
    subsets, every = len(bank.pool(POOL).kept), {name: _joined(parts) for name, parts in of_kinds.items()}
    for name, lds in every.items():
        if name != best:
            rows[name]["difference to best"] = make_figure(difference(lds, every[best], subsets=subsets).statistic)


def _on_folds(
    board: Board, folds: list[Fold], scores: list[np.ndarray], columns: np.ndarray, form: Form
) -> Correlations:
    """The mean over the folds of the LDS, by other scores on each."""
    return mean_over_folds(
        [fold_lds(board.bank, fold, columns, of_fold, form, POOL) for fold, of_fold in zip(folds, scores, strict=True)]
    )


LDS = SectionSpec(
    name="lds",
    title="Linear datamodeling score",
    question="Do the scores predict which parts of the data make models of lower loss? Plain and squared, and the "
    "variant that papers publish as mean ± std, which is the mean over resamples of the subsets and so a little lower.",
    measure=measure_lds,
    pools=(POOL,),
    overview={"LDS, held-out": "held-out", "LDS, drawn": "drawn", "squared, held-out": "held-out squared"},
)
DETERMINISTIC_LDS = SectionSpec(
    name="deterministic",
    title="The same run without some images",
    question="Do the scores predict what this very run would have become? The heads say how much of the data was "
    "removed.",
    measure=measure_deterministic,
    pools=tuple(REPEATED_RUNS.values()),
    overview={"same run, 1% removed": "1%", "same run, 50% removed": "50%"},
)
