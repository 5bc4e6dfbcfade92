"""The section ``lds``: linear datamodeling scores of every method, plain and with signed squares."""

from __future__ import annotations

import numpy as np

from whence.evaluation.asked import Kind, Use, asked
from whence.evaluation.leaderboard.attributions import attributions
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.figures import Rows, bare, figure, made_section
from whence.evaluation.leaderboard.folds import Fold, fold_lds, folded, folds
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.prediction.bank_lds import bank_lds
from whence.evaluation.prediction.comparison import difference
from whence.evaluation.prediction.lds import Form
from whence.evaluation.prediction.lds_table import RANDOM, Table
from whence.statistics.uncertainty import Correlations

POOL = "test"
_NAMES = {Kind.HELD_OUT: "held-out", Kind.DRAWN: "drawn"}

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


def lds_section(board: Board) -> Section:
    """Measure the section."""
    given = attributions(board)
    plain = bank_lds(board.bank, given, POOL)
    squared = bank_lds(board.bank, given, POOL, form=Form.SIGNED_SQUARES)
    rows: Rows = {}
    for tables, suffix in ((plain, ""), (squared, " squared")):
        for kind, table in tables.items():
            for row in table.rows:
                own = rows.setdefault(row.name, {})
                own[_NAMES[kind] + suffix] = figure(row.lds.mean, _ceiling(table))
                if not suffix:
                    own[f"published variant {_NAMES[kind]}"] = bare(row.lds.published[0], chance=0.0)
    best = _compare(plain, rows)
    _retrained(board, plain, best, rows)
    return made_section("lds", rows, [*NOTES, f"The best method by the plain score of both kinds is {best}."])


def both_kinds(tables: dict[Kind, Table], name: str) -> Correlations:
    """Return the correlations of a method of all kinds of queries, NaN where it has none."""
    parts = []
    for table in tables.values():
        own = next((row.lds for row in table.rows if row.name == name), None)
        shape = (len(table.queries), table.rows[0].lds.resampled.shape[1])
        parts.append(own or Correlations(np.full(shape[0], np.nan), np.full(shape, np.nan)))
    return Correlations(np.concatenate([p.of_query for p in parts]), np.concatenate([p.resampled for p in parts]))


def _compare(tables: dict[Kind, Table], rows: Rows) -> str:
    """Add the differences to the best method of those that have all queries, and return its name."""
    every = {name: both_kinds(tables, name) for name in rows}
    whole = {name: one.mean.value for name, one in every.items() if all(name in _names(t) for t in tables.values())}
    best = max((name for name in whole if name != RANDOM), key=lambda name: np.nan_to_num(whole[name], nan=-1.0))
    subsets = next(iter(tables.values())).subsets
    for name, one in every.items():
        if name != best:
            rows[name]["difference to best"] = figure(difference(one, every[best], subsets=subsets).measured)
    return best


def _names(table: Table) -> set[str]:
    return {row.name for row in table.rows}


def _retrained(board: Board, tables: dict[Kind, Table], best: str, rows: Rows) -> None:
    """Add the methods that need retrained models."""
    bank, pair = board.bank, folds(board.bank, POOL)
    leader = bank.require(*next((one.scores, one.manifest) for one in attributions(board) if one.name == best))
    together: dict[str, list[Correlations]] = {}
    for kind, table in tables.items():
        columns = np.flatnonzero(asked(bank.drawn, bank.development, kind, Use.REPORTED))
        fits = [{**fold.scores, best: leader.scores.double().numpy()} for fold in pair]
        for name in fits[0]:
            for form, suffix in ((Form.PLAIN, ""), (Form.SIGNED_SQUARES, " squared")):
                found = _on_folds(board, pair, [one[name][columns] for one in fits], columns, form)
                if not suffix:
                    together.setdefault(name, []).append(found)
                if name != best:
                    own = rows.setdefault(name, {})
                    own[_NAMES[kind] + suffix] = figure(found.mean, _ceiling(table))
                    if not suffix:
                        own[f"published variant {_NAMES[kind]}"] = bare(found.published[0], chance=0.0)
    joined = {n: Correlations(*(np.concatenate(x) for x in _arrays(parts))) for n, parts in together.items()}
    for name, one in joined.items():
        if name != best:
            subsets = len(bank.pool(POOL).kept)
            rows[name]["difference to best"] = figure(difference(one, joined[best], subsets=subsets).measured)


def _on_folds(
    board: Board, pair: list[Fold], scores: list[np.ndarray], columns: np.ndarray, form: Form
) -> Correlations:
    """The mean over folds of the LDS by scores of each."""
    parts = zip(pair, scores, strict=True)
    return folded([fold_lds(board.bank, fold, columns, own, form, POOL) for fold, own in parts])


def _arrays(parts: list[Correlations]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [one.of_query for one in parts], [one.resampled for one in parts]


def _ceiling(table: Table) -> float | None:
    return None if table.ceiling is None else table.ceiling.value
