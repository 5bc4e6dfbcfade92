"""The command `whence evaluate retrieval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.evaluations.measures import SCORES, by_measure, show_measures, show_what, show_words
from whence.cli.options import UNIT_COLUMN
from whence.cli.show import say

if TYPE_CHECKING:
    from whence.cli.evaluations.units import Units
    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic as Statistic

#: Where queries that are training images come for themselves.
TRACING = ("itself first", "itself in the top 10", "1 / place of itself")
PRECISION = """Precision: share of the top that has a unit in common with the query; chance is the share of all images.
A high one is no proof of influence: likeness alone has it too."""
ITSELF = """A training image should come first for itself, or nearly so. It is a check that a method works at all:
likeness of pixels passes it by definition."""


def retrieval(
    scores: SCORES,
    queries: Annotated[
        str | None,
        typer.Option(help="Data that the queries are from, for their units. Default: they are training images."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The training images, if the scores don't hold these units: name --unit-column.")
    ] = None,
    unit_column: UNIT_COLUMN = None,
    top: Annotated[int, typer.Option(min=1, help="Training images at the top of each query that are looked at.")] = 10,
) -> None:
    """How many of the training images at the top are of the query's own class, or source? Is it traced to itself?

    Precision is the share of the top that has a unit in common with the query; a query that is a training image is not
    counted for itself. Where the queries are training images, it is also shown where each comes in the ranking for
    itself. Intervals are over queries.

    Example: `whence evaluate retrieval scores/ --queries digits:test --data digits --unit-column label`
    """
    from whence.cli.evaluations.units import units_of
    from whence.scores.stored import read_scores

    given, found = read_scores(scores), {}
    precision = f"precision of the top {top}"
    for one in given:
        examples, asked = one.scores.units, None
        if data is not None:
            examples = units_of(one.scores.examples, data, unit_column, f"training images of {one.name}")
        if queries is not None:
            asked = units_of(one.scores.queries, queries, unit_column, f"queries of {one.name}")
        traced = _tracing(one, scores) if asked is None else {}
        found[one.name] = _precision(one, asked, examples, precision, top) | traced
    show_what(given)
    show_measures(by_measure(found, {precision: ".3f", **dict.fromkeys(TRACING, ".3f")}))
    if any(precision in numbers for numbers in found.values()):
        show_words(PRECISION)
    else:
        say("No two training images have a unit in common, so there is no precision: --data DATA --unit-column COLUMN.")
    if queries is None:
        show_words(ITSELF)


def _precision(one: StoredScores, asked: Units | None, examples: Units, name: str, top: int) -> dict[str, Statistic]:
    """Precision of the top; nothing where every image is a unit of its own."""
    from whence.evaluation.ranking.retrieval import precision, shared_units
    from whence.evaluation.ranking.themselves import own_columns

    columns = own_columns(one.scores)
    if len({unit for units in examples for unit in units}) == sum(map(len, examples)):
        return {}
    right = shared_units([examples[n] for n in columns] if asked is None else asked, examples)
    return {name: precision(one.scores.scores.numpy(), right, top, itself=columns)}


def _tracing(one: StoredScores, scores: list[Path]) -> dict[str, Statistic]:
    """Where training images come for themselves."""
    from whence.evaluation.ranking.themselves import training_images
    from whence.evaluation.ranking.tracing import tracing

    found = tracing(one.scores.scores.numpy(), training_images(one, scores))
    return dict(zip(TRACING, (found.first, found.near, found.reciprocal), strict=True))
