"""The sections ``lds``, ``deterministic``, ``draws`` and ``calibration``: do scores predict losses?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whence.attribution.methods import METHODS
from whence.evaluation.bank.pool import REMOVED
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.development import develop
from whence.evaluation.leaderboard.scores import reported_scores, stored_scores
from whence.evaluation.leaderboard.sections import (
    Figure,
    Point,
    Rows,
    Section,
    SectionSpec,
    make_figure,
    make_point,
    make_section,
    plain_figure,
)
from whence.evaluation.prediction.calibration import Calibration, calibration
from whence.evaluation.prediction.ceiling import DETERMINISTIC
from whence.evaluation.prediction.lds import RANDOM, Form, LdsTable, bank_lds, lds_table, predictions
from whence.evaluation.prediction.retraining_methods import RETRAINING_METHODS, fold_lds, make_folds
from whence.evaluation.queries import Kind, query_places
from whence.statistics.correlations import Correlations, difference

#: The pool of retrained models that figures are reported on.
POOL = "test"
#: Pools of repeated runs by column: the share of the data that is removed.
REPEATED_RUNS = {share: DETERMINISTIC + share for share in REMOVED}
NOTES = (
    "Measured on the pool test and the queries that are not for development. Intervals are over the subsets. The "
    "ceiling is from the training seeds of the same subsets.",
    "Squared: each score is multiplied by its absolute value. Published variant: the mean of 64 resamples of the "
    "subsets.",
    "Empirical influence and datamodels are fitted on one half of the test subsets and on the development pool, and "
    "measured on the other half. Then the halves change places. Figures are the mean of both.",
    "The difference to the best method is over both kinds of queries, paired by subset and query. For empirical "
    "influence and datamodels it is on the same halves.",
    "The damping of each method was chosen on the development pool and the development queries.",
)
#: Methods whose scores are in units of the loss, so that their slope should be 1.
IN_LOSS_UNITS = (
    *(name for name, method in METHODS.items() if method.loss_units),
    *(name.replace("-", " ") for name in RETRAINING_METHODS),
)


def measure_lds(board: Board) -> Section:
    """Measure the section ``lds``."""
    stored, rows = stored_scores(board), Rows()
    plain = bank_lds(board.bank, stored, POOL)
    squared = bank_lds(board.bank, stored, POOL, form=Form.SIGNED_SQUARES)
    for kind, table in plain.items():
        for row in table.rows:
            rows.setdefault(row.name, {}).update(_columns(kind, row.lds, table))
    for kind, table in squared.items():
        for row in table.rows:
            rows[row.name][f"{kind} squared"] = make_figure(row.lds.mean, _ceiling(table))
    best = _compare_methods(plain, rows)
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
    counted = ", ".join(f"{len(board.bank.pool(pool).kept)} subsets without {share}" for share, pool in pools.items())
    notes = [
        "The run is repeated with the same seed, order and draws, and with weight 0 for the removed images. This is "
        f"what influence functions estimate. There are {counted} of the training images. Seeds add no noise, so the "
        "ceiling is 1.",
        "Figures are means over held-out and drawn queries that are not for development. Those of methods that explain "
        "the way to a picture are over drawn queries alone.",
    ]
    return make_section("deterministic", rows, notes)


def join_kinds(tables: Mapping[Kind, LdsTable], name: str) -> Correlations:
    """Return the correlations of a method for all kinds of queries, NaN where it has none."""
    parts = []
    for table in tables.values():
        lds = next((row.lds for row in table.rows if row.name == name), None)
        shape = (len(table.queries), table.rows[0].lds.resampled.shape[1])
        parts.append(lds or Correlations(np.full(shape[0], np.nan), np.full(shape, np.nan)))
    return Correlations.combine(np.concatenate, parts)


def _columns(kind: Kind, lds: Correlations, table: LdsTable) -> dict[str, Figure | None]:
    """The columns of the plain LDS of a method for a kind of query."""
    return {
        str(kind): make_figure(lds.mean, _ceiling(table)),
        f"published variant {kind}": plain_figure(lds.published[0], chance=0.0),
    }


def _ceiling(table: LdsTable) -> float | None:
    return None if table.ceiling is None else table.ceiling.value


def _compare_methods(tables: Mapping[Kind, LdsTable], rows: Rows) -> str:
    """Add the differences to the best of the methods that have all queries, and return its name."""
    every = {name: join_kinds(tables, name) for name in rows}
    methods = [{row.name for row in table.rows} for table in tables.values()]
    means = {name: lds.mean.value for name, lds in every.items() if all(name in names for names in methods)}
    best = max((name for name in means if name != RANDOM), key=lambda name: np.nan_to_num(means[name], nan=-1.0))
    _add_differences(every, best, next(iter(tables.values())).subsets, rows)
    return best


def _add_retraining_methods(board: Board, tables: Mapping[Kind, LdsTable], best: str, rows: Rows) -> None:
    """Add the methods that need retrained models, and their differences to the best method on the same halves."""
    bank, folds = board.bank, make_folds(board.bank, POOL)
    leader = bank.require(*next((s.scores, s.manifest) for s in stored_scores(board) if s.name == best))
    scores = [{**fold.scores, best: leader.scores.double().numpy()} for fold in folds]
    of_kinds: dict[str, list[Correlations]] = {}
    for kind, table in tables.items():
        columns = query_places(bank, kind)
        for name in scores[0]:
            of_folds = [of_fold[name][columns] for of_fold in scores]
            plain = fold_lds(bank, folds, of_folds, columns, Form.PLAIN, POOL)
            of_kinds.setdefault(name, []).append(plain)
            if name != best:
                squared = fold_lds(bank, folds, of_folds, columns, Form.SIGNED_SQUARES, POOL)
                row = rows.setdefault(name, {})
                row.update(_columns(kind, plain, table))
                row[f"{kind} squared"] = make_figure(squared.mean, _ceiling(table))
    every = {name: Correlations.combine(np.concatenate, parts) for name, parts in of_kinds.items()}
    _add_differences(every, best, len(bank.pool(POOL).kept), rows)


def _add_differences(every: Mapping[str, Correlations], best: str, subsets: int, rows: Rows) -> None:
    """Add the differences to the best method."""
    for name, lds in every.items():
        if name != best:
            rows[name]["difference to best"] = make_figure(difference(lds, every[best], subsets=subsets).statistic)


def measure_draws(board: Board) -> Section:
    """Measure the section ``draws``."""
    bank, curves = board.bank, dict[str, list[Point]]()
    pool = bank.pool(POOL)
    for draws, development in develop(board).items():
        names = [name for name in board.config.followed if name in development.scores]
        tables = {}
        for kind in Kind:
            columns = query_places(bank, kind)
            if len(columns):
                scores = {name: development.scores[name][columns] for name in names}
                tables[kind] = lds_table(pool, columns, [bank.queries[q] for q in columns], scores)
        for name in names:
            curves.setdefault(name, []).append(make_point(draws, join_kinds(tables, name).mean))
    notes = [
        "The plain LDS on the pool test, mean over held-out and drawn queries that are not for development. By "
        "chance it is 0.",
        "A larger number of draws contains the draws of the smaller ones. At each number, the damping is the best one "
        "on the development pool and queries.",
    ]
    return make_section("draws", {}, notes, {"lds over draws": curves})


def measure_calibration(board: Board) -> Section:
    """Measure the section."""
    pool, rows = board.bank.pool(POOL), Rows()
    for name, (columns, scores) in reported_scores(board).items():
        losses = pool.mean[:, columns]
        rows[name] = _calibration_columns(name, calibration(predictions(~pool.kept, scores), losses - losses.mean(0)))
    _calibrate_retraining_methods(board, rows)
    notes = [
        "For each subset of the pool test, the measured change of the loss is compared with the predicted one, on "
        "queries that are not for development. R2: how much of the differences between subsets a line explains, mean "
        "over queries. Intervals are over the subsets.",
        "Slope: of the line through all queries together; 1 means that losses change as much as predicted. Only the "
        f"scores of {', '.join(IN_LOSS_UNITS)} are in units of the loss. The slope of others means nothing and is left "
        "out.",
        "Empirical influence and datamodels predict only subsets that they were not fitted on.",
    ]
    return make_section("calibration", rows, notes)


def _calibration_columns(name: str, fit: Calibration) -> dict[str, Figure | None]:
    return {"slope": make_figure(fit.slope) if name in IN_LOSS_UNITS else None, "R2": make_figure(fit.query_r2)}


def _calibrate_retraining_methods(board: Board, rows: Rows) -> None:
    """Add the methods that need retrained models: each half of the subsets is predicted by scores from the other."""
    bank, pool = board.bank, board.bank.pool(POOL)
    columns, folds = query_places(bank), make_folds(bank, POOL)
    for name in folds[0].scores:
        predicted, measured = np.empty((2, len(pool.kept), len(columns)))
        for fold in folds:
            sums = predictions(~pool.kept[fold.rows], fold.scores[name][columns])
            losses = pool.mean[np.ix_(fold.rows, columns)]
            predicted[fold.rows], measured[fold.rows] = sums - sums.mean(0), losses - losses.mean(0)
        rows[name] = _calibration_columns(name, calibration(predicted, measured))


LDS = SectionSpec(
    name="lds",
    title="Linear datamodeling score",
    question="Do the scores predict which parts of the data make models of lower loss? The published variant is what "
    "papers print as mean ± std: the mean over resamples of the subsets, which is a little lower.",
    measure=measure_lds,
    pools=(POOL,),
    overview={"LDS, held-out": "held-out", "LDS, drawn": "drawn", "squared, held-out": "held-out squared"},
)


DETERMINISTIC_LDS = SectionSpec(
    name="deterministic",
    title="The same run without some images",
    question="Do the scores predict how this same run would have ended without some images? The heads of the columns "
    "say how much of the data was removed.",
    measure=measure_deterministic,
    pools=tuple(REPEATED_RUNS.values()),
    overview={"same run, 1% removed": "1%", "same run, 50% removed": "50%"},
)


DRAWS = SectionSpec(
    name="draws",
    title="More draws",
    question="A gradient is a mean over draws of timestep and noise. How much better are scores of more draws? After "
    "each interval stands the figure divided by the first figure of its row.",
    measure=measure_draws,
    pools=(POOL,),
    curve_head="method, by draws",
)


CALIBRATION = SectionSpec(
    name="calibration",
    title="Calibration",
    question="Do losses change by as much as the scores predict? Rank correlations can't tell.",
    measure=measure_calibration,
    pools=(POOL,),
)
