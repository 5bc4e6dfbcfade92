"""The command `whence leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.options import PLAN, WORKERS
from whence.cli.show import say, show_cost


def leaderboard(
    bank: Annotated[
        str, typer.Argument(help="The retrained models: a directory, or `digits`, which comes with Whence.")
    ],
    work: Annotated[
        Path, typer.Option(help="Folder for everything that is made on the way, from which a run continues.")
    ] = Path("runs/leaderboard"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for leaderboard.md and its plots; default WORK itself.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this section alone; may be repeated. choices, lds, draws, deterministic, runtime, deletion, "
            "measures, calibration, ensemble."
        ),
    ] = None,
    draws: Annotated[
        list[int] | None,
        typer.Option(
            help="Draws per picture; may be repeated, the largest is that of all figures but the curve over draws. "
            "Default 10, 50, 100 and 200."
        ),
    ] = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Measure every method by every measure against a bank, and write one page with tables and plots.

    Nothing is retrained for the bank. Each damping is chosen on the bank's development pool and queries, and figures
    are of the other pools and queries, beside random scores and likeness of pixels. Interrupted at any moment, the same
    command continues: a section that was measured is not measured again.

    Example: `whence leaderboard digits --out docs`
    """
    from whence.cli.progress import progress
    from whence.evaluation.leaderboard.board import LeaderboardConfig
    from whence.evaluation.leaderboard.measure import leaderboard_cost, measure, open_board
    from whence.evaluation.leaderboard.page import write_page

    config = LeaderboardConfig(draws=tuple(sorted(draws))) if draws else LeaderboardConfig()
    board = open_board(bank, work, config=config, workers=workers, progress=progress)
    if plan:
        show_cost(leaderboard_cost(board, only or ()), work)
        return
    measure(board, only or (), say)
    say(f"The page: {write_page(work, out or work, f'whence leaderboard {bank}')}")
