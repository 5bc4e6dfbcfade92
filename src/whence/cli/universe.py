"""The command `whence ensemble export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from whence.cli.options import RUN
from whence.cli.show import say, size


def export(
    run: RUN,
    out: Annotated[Path, typer.Argument(help="The file to write; an old one is replaced.", metavar="OUT")],
    format: Annotated[
        Literal["ctf"], typer.Option(help="ctf: a universe file, an uncompressed tar of PNG sheets.")
    ] = "ctf",
) -> None:
    """Write all landscapes of an ensemble as one file: its pictures, and each picture without each unit.

    The file is in the format of published counterfactual universes, with 8 bits per channel; `whence.Universe.open`
    reads it, and theirs.

    Example: `whence ensemble export runs/ens --format ctf universe.ctf`
    """
    from whence.cli.progress import progress
    from whence.engine import Engine
    from whence.ensemble import Ensemble
    from whence.ensemble.landscape import landscapes
    from whence.universe import write_universe

    ensemble = Ensemble.open(run)
    drawn = landscapes(ensemble)
    with progress("writing sheets") as report:
        universe = write_universe(out, ensemble, drawn, engine=Engine(report=report))
    pictures = ", ".join(landscape.sample for landscape in drawn[:4]) + (", ..." if len(drawn) > 4 else "")
    say(f"{out} holds {len(drawn)} pictures ({pictures}), each without each of {len(universe.units):,} units.")
    say(f"Its size is {size(out.stat().st_size)}; format: {format}, {universe.config.format}.")
