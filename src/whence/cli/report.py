"""The commands that write a page: `whence report` and `whence leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import whence
from whence.cli.options import PLAN, WORKERS
from whence.cli.show import progress, say, show_cost


def report(
    run: Annotated[
        Path, typer.Argument(help="The directory of an ensemble, or what `attribute` or `credit compute` wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file; default RUN/report.html.")] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="A run whose landscapes are compared with those of this run; may be repeated."),
    ] = None,
) -> None:
    """Write a report as one HTML file that opens offline and needs no server.

    Of an ensemble: the pictures, landscapes, counterfactuals and placebos that it has drawn so far. Of scores: the
    proponents and opponents of each picture with error bars, and the pictures for which no score rises above Monte
    Carlo noise. Of credit: the shares of all contributors with intervals, and what is owed to nobody in particular.

    Example: `whence report runs/digits-256 --beside runs/digits-512 --beside runs/digits-1024`
    """
    from whence.report import ENSEMBLE, page_of

    page = page_of(run)
    if beside and page is not ENSEMBLE:
        raise typer.BadParameter(f"--beside compares ensembles; these are {page.content}.")
    if beside:
        first, *others = (whence.Ensemble.open(path) for path in (run, *beside))
        file = whence.write_report(first, out, beside=others)
    else:
        file = page.write(run, out)
    say(f"The report: {file}")


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
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this gradient method; may be repeated. Default all but ek-fac and k-fac, which take many "
            "times as long as the others together. Likeness of pixels and random scores are always there."
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
    """Measure methods by every measure against a bank, and write one page with tables and plots.

    Nothing is retrained for the bank. Each damping is chosen on the bank's development pool and queries, and figures
    are of the other pools and queries, beside random scores and likeness of pixels. Interrupted at any moment, the same
    command continues: a section that was measured is not measured again.

    Example: `whence leaderboard digits --out docs`
    """
    from whence.evaluation.leaderboard.board import Board, LeaderboardConfig
    from whence.evaluation.leaderboard.measure import leaderboard_cost, measure
    from whence.evaluation.leaderboard.page import write_page

    given: dict[str, Any] = {"draws": tuple(sorted(draws or [])), "methods": tuple(method or [])}
    config = LeaderboardConfig(**{name: values for name, values in given.items() if values})
    board = Board(whence.Bank.open(bank), work, config, workers, progress)
    if plan:
        return show_cost(leaderboard_cost(board, only or ()), work)
    measure(board, only or (), say)
    command = " ".join(["whence leaderboard", bank, *(f"--method {name}" for name in method or [])])
    say(f"The page: {write_page(work, out or work, command)}")
