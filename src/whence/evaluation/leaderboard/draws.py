"""The sections ``choices`` and ``draws``: the development LDS by damping, and the LDS by number of draws."""

from __future__ import annotations

import numpy as np

from whence.attribution.method import DAMPING
from whence.attribution.methods import METHODS
from whence.evaluation.leaderboard.board import RANDOM, Board
from whence.evaluation.leaderboard.development import develop
from whence.evaluation.leaderboard.lds import POOL, join_kinds
from whence.evaluation.leaderboard.sections import (
    Point,
    Rows,
    Section,
    SectionSpec,
    make_point,
    make_section,
    plain_figure,
)
from whence.evaluation.prediction.lds_table import lds_table
from whence.evaluation.query_kinds import Kind, Use, query_mask


def measure_choices(board: Board) -> Section:
    """Measure the section ``choices``."""
    development = develop(board)[board.draws]
    damped = [method for method in board.methods if method.damped]
    curves = {
        method.name: [
            Point(damping, value, None, None)
            for damping, value in sorted(development.lds[method.name].items())
            if np.isfinite(value)
        ]
        for method in damped
    }
    notes = [
        "Mean over held-out and drawn queries of the plain LDS, on the development pool and the development queries "
        "alone; no figure of another section is on them.",
        f"Damping is a multiple of the mean eigenvalue of the kernel, at {board.draws} draws. Where a value is "
        "missing, rounding errors, or a leverage of 1, would take over.",
    ]
    rows: Rows = {name: {"damping": plain_figure(development.damping(METHODS[name]))} for name in curves}
    stated = [f"{method.name} ({method.damping:g})" for method in damped if method.damping != DAMPING]
    if stated:
        notes.append(
            f"A method that states a damping of its own keeps it: {', '.join(stated)}. It was chosen on development "
            "deletions as well as on development LDS."
        )
    return make_section("choices", rows, notes, {"damping": curves})


def measure_draws(board: Board) -> Section:
    """Measure the section ``draws``."""
    bank, curves = board.bank, dict[str, list[Point]]()
    pool = bank.pool(POOL)
    for draws, development in develop(board).items():
        names = [name for name in board.config.followed if name in development.scores]
        tables = {}
        for kind in Kind:
            columns = np.flatnonzero(query_mask(bank.drawn, bank.development, kind, Use.REPORTED))
            if len(columns):
                scores = {name: development.scores[name][columns] for name in names}
                tables[kind] = lds_table(pool, columns, [bank.queries[q] for q in columns], scores)
        for name in names:
            curves.setdefault(name, []).append(make_point(draws, join_kinds(tables, name).mean))
    notes = [
        "Pool test, mean over held-out and drawn queries that are not for development, plain LDS; by chance 0 "
        f"({RANDOM}).",
        "More draws were added to those before. At each number of draws the damping is the one that is best there on "
        "the development pool and queries.",
    ]
    return make_section("draws", {}, notes, {"lds over draws": curves})


CHOICES = SectionSpec(
    name="choices",
    title="How the damping was chosen",
    question="On subsets and queries that no other section reports on. Papers choose it on the figure that they "
    "report, which makes that figure the best of several tries.",
    measure=measure_choices,
    curve_head="method, by damping",
)
DRAWS = SectionSpec(
    name="draws",
    title="More draws",
    question="A gradient is the mean over draws of timestep and noise. What do more of them buy? After the interval "
    "stands how many times the first figure of its row each one is.",
    measure=measure_draws,
    pools=(POOL,),
    curve_head="method, by draws",
)
