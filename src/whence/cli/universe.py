"""The command `whence ensemble export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from whence.cli.ensemble import app
from whence.cli.options import RUN
from whence.cli.show import say, size


@app.command()
def export(
    run: RUN,
    out: Annotated[Path, typer.Argument(help="The file to write; an old one is replaced.", metavar="OUT")],
    format: Annotated[
        Literal["ctf"], typer.Option(help="ctf: a universe file, an uncompressed tar of PNG sheets.")
    ] = "ctf",
) -> None:
    """Write all landscapes of an ensemble as one file: its pictures, and each of them without each unit.

    The file is in the format of published counterfactual universes, with 8 bits per channel; `whence.Universe.open`
    reads it, and theirs.

    Example: `whence ensemble export runs/ens --format ctf universe.ctf`
    """
    from whence.cli.progress import progress
    from whence.ensemble import Ensemble
    from whence.ensemble.landscape import landscapes
    from whence.universe import write_universe

    ensemble = Ensemble.open(run)
    found = landscapes(ensemble)
    with progress("writing sheets") as report:
        universe = write_universe(out, ensemble, found, report=report)
    pictures = ", ".join(one.sample for one in found[:4]) + (", ..." if len(found) > 4 else "")
    say(f"{out} holds {len(found)} pictures ({pictures}), each without each of {len(universe.units):,} units.")
    say(f"Its size is {size(out.stat().st_size)}; format: {format}, {universe.config.format}.")
