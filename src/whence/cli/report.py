"""The command `whence report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.show import say


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
    from whence.ensemble import Ensemble
    from whence.report import ENSEMBLE, page_of, write_report

    page = page_of(run)
    if beside and page is not ENSEMBLE:
        raise typer.BadParameter(f"--beside compares ensembles; these are {page.content}.")
    if beside:
        file = write_report(Ensemble.open(run), out, beside=[Ensemble.open(path) for path in beside])
    else:
        file = page.write(run, out)
    say(f"The report: {file}")
