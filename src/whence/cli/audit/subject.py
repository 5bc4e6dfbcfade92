"""What a command of `whence audit` is about: the model, and its training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.data import load_data
from whence.cli.options import read_process
from whence.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.attribution.target import Target

RUN = Annotated[
    str,
    typer.Argument(
        help="The model: a run of `whence train`, an ensemble, a diffusers folder, or the base `styles`.", metavar="RUN"
    ),
]
DATA = Annotated[
    str | None, typer.Argument(help="The training data, as for `whence train`. An ensemble knows its own.")
]
OUT = Annotated[Path, typer.Option(help="Folder for tables and the page.")]
DRAWS = Annotated[int, typer.Option(min=8, help="Draws (timestep, noise) of every picture.")]
SEED = Annotated[int, typer.Option(min=0, help="Seed of the draws.")]
BASE = Annotated[
    str | None, typer.Option(help="Where the base of a run of an adapter is now; default where it was at its training.")
]


def open_target(
    run: str,
    adapters: Sequence[str] | None = None,
    resolution: int | None = None,
    base: str | None = None,
    process: Path | None = None,
) -> Target:
    """Return the model of a command, with adapters FILE or FILE:STRENGTH on it."""
    from whence.attribution.target import Target
    from whence.diffusion.adapters.adapter import Adapter

    own = tuple(Adapter.parse(text) for text in adapters or ())
    return Target.mean([run], own, resolution, base, read_process(process))


def training_data(target: Target, data: str | None, out: Path, **options: Any) -> whence.Dataset:
    """Return the training data that a command names, or else those of an ensemble.

    Raises:
        DataError: None are named, and the model is no ensemble.
    """
    if data is not None:
        return load_data(data, out, **options)
    if target.ensemble is None:
        raise DataError(f"{target.name} does not hold its training images. Name them: whence audit ... RUN DATA.")
    return target.ensemble.data
