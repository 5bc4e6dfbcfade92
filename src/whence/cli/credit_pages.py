"""Pages about credit: `whence credit statement`, and `whence report` of a credit folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.show import say


def statement(
    credit: Annotated[Path, typer.Argument(help="What `whence credit compute` wrote.", metavar="CREDIT")],
    unit: Annotated[str, typer.Option(help="The contributor.")],
    estimator: Annotated[str | None, typer.Option(help="By which shares; default the first that add up.")] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file; default CREDIT/statements/UNIT.html.")] = None,
) -> None:
    """Write a page for one contributor, in plain words.

    It says what was measured, the share, how sure that is, what is owed to nobody in particular, which pictures it is
    about, and what it does not mean. One self-contained HTML file, for a screen, a phone or paper.

    Example: `whence credit statement credit/ --unit "artist 7"`
    """
    from whence.report.credit import write_statement

    say(f"The statement: {write_statement(credit, unit, out, estimator)}")
