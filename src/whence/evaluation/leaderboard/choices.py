"""The section ``choices``: the development LDS at every damping, by which the damping of each method was chosen."""

from __future__ import annotations

import numpy as np

from whence.attribution.method import DAMPING
from whence.attribution.methods import METHODS
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.collect import collect
from whence.evaluation.leaderboard.figures import Rows, bare, made_section
from whence.evaluation.leaderboard.sections import Point, Section


def choices_section(board: Board) -> Section:
    """Measure the section."""
    found = collect(board)[board.draws]
    measured = found.measured
    curves = {
        name: [Point(c, value, None, None) for c, value in sorted(measured[name].items()) if np.isfinite(value)]
        for name in (one.name for one in board.methods if one.damped)
    }
    notes = [
        "Mean over held-out and drawn queries of the plain LDS, on the development pool and the development queries "
        "alone; no figure of another section is on them.",
        f"Damping is a multiple of the mean eigenvalue of the kernel, at {board.draws} draws. Where a value is "
        "missing, rounding errors, or a leverage of 1, would take over.",
    ]
    rows: Rows = {name: {"damping": bare(found.damping(METHODS[name]))} for name in curves}
    own = [f"{one.name} ({one.damping:g})" for one in board.methods if one.damped and one.damping != DAMPING]
    if own:
        notes.append(
            f"A method that states a damping of its own keeps it: {', '.join(own)}. It was chosen on development "
            "deletions as well as on development LDS."
        )
    return made_section("choices", rows, notes, {"damping": curves})
