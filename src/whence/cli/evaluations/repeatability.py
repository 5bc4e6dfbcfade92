"""The command `whence evaluate repeatability`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.evaluations.measures import by_measure, show_measures, show_what, show_words
from whence.cli.show import say

if TYPE_CHECKING:
    from whence.scores.scores import Scores

WORDS = """1 is perfect; more --draws bring scores nearer to it. What doesn't repeat can be true of neither set. The
correlation is over the images in the top of either set; a random order is below 0 there, as what one set puts at its
top is lower in the other."""


def repeatability(
    first: Annotated[
        Path, typer.Argument(help="What `whence attribute` wrote: OUT, or OUT/d-trak.", metavar="SCORES_A")
    ],
    second: Annotated[Path, typer.Argument(help="The same with another --seed.", metavar="SCORES_B")],
    top: Annotated[int, typer.Option(min=1, help="Training images at the top of each query that are compared.")] = 100,
) -> None:
    """Do two independent sets of draws name the same training images, in the same order?

    Compares scores of the same methods, model, data, queries and settings, but for --seed. Intervals are over queries.

    Example: `whence evaluate repeatability scores/ scores-seed-1/`
    """
    from whence.attribution.methods import METHODS
    from whence.evaluation.ranking.independent import independent_pairs
    from whence.evaluation.ranking.repeatability import repeatability as measure
    from whence.scores.stored import read_scores

    given, others = read_scores([first]), read_scores([second])
    found, forms = {}, {f"rank correlation, top {top}": ".3f", f"overlap, top {top}": ".3f"}
    for name, (a, b) in independent_pairs(given, others).items():
        numbers = measure(a.scores.numpy(), b.scores.numpy(), top)
        found[f"{name} ({_draws(a, b)})"] = dict(zip(forms, (numbers.correlation, numbers.overlap), strict=True))
    show_what([*given, *others])
    show_measures(by_measure(found, forms))
    show_words(WORDS)
    left_out = [one.name for one in given if not one.scores.draws]
    if left_out:
        say(f"Without draws, so the same every time: {', '.join(left_out)}.")
    replayed = [one.name for one in given if (m := METHODS.get(one.scores.method)) and m.over == "record"]
    if replayed:
        say(f"In both sets training images have their recorded draws; only the queries' differ: {', '.join(replayed)}.")


def _draws(a: Scores, b: Scores) -> str:
    """The draws of both sets."""
    return f"{a.draws} draws" if a.draws == b.draws else f"{a.draws} and {b.draws} draws"
