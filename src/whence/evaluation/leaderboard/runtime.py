"""The section ``runtime``: what each method costs by itself."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from whence.attribution.attributors import attributor
from whence.attribution.method import Method
from whence.attribution.planning import plan_attribution
from whence.evaluation.leaderboard.attributions import chosen_methods
from whence.evaluation.leaderboard.board import PIXELS, Board, needs_drawn
from whence.evaluation.leaderboard.figures import Rows, made_section
from whence.evaluation.leaderboard.sections import Figure, Section


def runtime_section(board: Board) -> Section:
    """Measure the section."""
    rows: Rows = {}
    for one in chosen_methods(board):
        rows[one.name] = {"seconds": Figure(value=_seconds(board, one)), "draws": Figure(value=board.draws)}
    asked = board.asked(False)
    for name in PIXELS:
        start = time.perf_counter()
        attributor(name, board.bank.data)(asked.pictures, asked.names)
        rows[name] = {"seconds": Figure(value=time.perf_counter() - start)}
    notes = [
        f"Seconds on one core of this machine for {len(board.bank.queries)} queries and {len(board.bank.examples)} "
        f"training images at {board.draws} draws (drawn queries alone for methods that explain the way to a picture), "
        "each method by itself: features that several methods share are counted for each. Counted from the time of one "
        "batch of every store and of the scores with their standard errors.",
    ]
    return made_section("runtime", rows, notes)


def _seconds(board: Board, one: Method) -> float:
    """Time of a method alone, nothing being there."""
    with TemporaryDirectory() as scratch:
        work = board.request([one], board.draws, drawn=needs_drawn(one)).work(Path(scratch))
        return plan_attribution(work, [one], workers=1).seconds
