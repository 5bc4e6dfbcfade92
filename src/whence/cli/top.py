"""The option --top: the first training images of each picture, instead of all scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import whence
from whence import artefacts
from whence.cli.scores import TOLD, listed, show_head
from whence.cli.show import progress, say, show_work
from whence.scores.ends import KIND
from whence.scores.top import TopScores

TOP = Annotated[
    int | None,
    typer.Option(
        help="Keep this many proponents and opponents of each picture, and the sums over units, in memory that does "
        "not grow with the images. Default: all scores.",
        metavar="K",
    ),
]


def attribute_top(request: tuple[Any, ...], out: Path, store: Path | None, workers: int | None, top: int) -> None:
    """Compute the ends of the scores of a request, with progress on the terminal, and print the first."""
    *what, config, parameters = request
    with show_work("gradients", workers) as engine, progress("scores") as scored:
        chosen: dict[str, Any] = {"config": config, "parameters": parameters, "engine": engine}
        ends = whence.attribute_top(*what, top=top, out=out, store=store, scored=scored, **chosen)
    show_ends(ends, out)


def show_ends(results: Mapping[str, whence.ScoreEnds], out: Path) -> None:
    """Print the strongest proponents and opponents of the first pictures by each method, also by unit."""
    for name, ends in results.items():
        show_head(name, len(ends.queries), ends.examples)
        how = "sum" if ends.combine == "sum" else "largest score"
        few = min(3, ends.count)
        for query in ends.queries[:TOLD]:
            say(f"  picture {query}: {listed(ends.top(query, few))}")
            opponents: TopScores = ends.opponents(query, few)
            if opponents:
                say(f"    opponents: {listed(opponents)}")
            if ends.units is not None:
                say(f"    by unit ({how} of its images): {listed(ends.units.top(query, 3))}")
    say(f"Next: whence report {out}")
    say(f"      whence export {artefacts.of_kind(out, KIND)[0]} --to top.csv")
