"""The command `whence export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from whence.cli.show import say


def export(
    scores: Annotated[Path, typer.Argument(help="The scores of one method, such as OUT/d-trak or OUT/d-trak-top-100.")],
    to: Annotated[Path, typer.Option(help="The file or the folder.")],
    top: Annotated[
        int | None, typer.Option(min=1, help="Only so many of the largest and of the smallest scores of each picture.")
    ] = None,
    format: Annotated[
        Literal["csv", "parquet", "parquet-images", "datasets", "fiftyone"] | None,
        typer.Option(
            help="A table without pictures (csv, parquet), or with them: one Parquet file, a folder for "
            "`datasets.load_from_disk`, or one for FiftyOne; default by the suffix of --to."
        ),
    ] = None,
) -> None:
    """Write scores as a table: picture, rank, training image, units, score, standard error and 90% interval.

    Formats with pictures have those that `whence attribute` kept beside the scores.

    Example: `whence export scores/d-trak --to top.csv --top 10`
    """
    from whence import artefacts
    from whence.scores.arrays import ScoreArrays
    from whence.scores.ends import KIND, ScoreEnds
    from whence.scores.formats import write_scores
    from whence.scores.stored import require_one

    folder = require_one(scores, ends=True)
    ends = artefacts.kind_of(folder) == KIND
    source = ScoreEnds.read(folder) if ends else ScoreArrays.read(folder)
    write_scores(source, to, top=top, format=format, source=folder)
    say(f"The table: {to}")
