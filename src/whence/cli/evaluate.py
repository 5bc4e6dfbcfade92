"""The commands `whence evaluate ...`."""

from __future__ import annotations

from collections.abc import Callable

import typer

from whence.cli.evaluations.deletion import deletion
from whence.cli.evaluations.false_attribution import false_attribution
from whence.cli.evaluations.landscape import ceiling, landscape
from whence.cli.evaluations.lds import calibration, deterministic, lds
from whence.cli.evaluations.ranking import outliers, repeatability, retrieval, specificity

#: The commands by name.
COMMANDS: dict[str, Callable[..., None]] = {
    "ceiling": ceiling,
    "calibration": calibration,
    "deletion": deletion,
    "deterministic": deterministic,
    "false-attribution": false_attribution,
    "landscape": landscape,
    "lds": lds,
    "outliers": outliers,
    "repeatability": repeatability,
    "retrieval": retrieval,
    "specificity": specificity,
}

app = typer.Typer(
    help="How far an attribution can be believed: measured against counterfactuals, with controls and intervals.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
for name, command in COMMANDS.items():
    app.command(name)(command)
