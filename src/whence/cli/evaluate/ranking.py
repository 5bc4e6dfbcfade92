"""The commands about rankings of training images: `outliers`, `repeatability`, `retrieval` and `specificity`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import whence
from whence.cli.data import load_beside
from whence.cli.options import GREY, LABELLED_DATA, RESOLUTION, SCORES, UNIT_COLUMN
from whence.cli.show import say, show_paragraph, show_sizes, show_statistics
from whence.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic

OUTLIERS = """Area: how often an outlier has more influence on itself than another image. Recall: share of the outliers
among as many images at the top as there are outliers. Average precision: mean of the precision down to each outlier. At
chance the method doesn't know them."""
REPEATABILITY = """1 is perfect; more --draws bring scores nearer to it. What doesn't repeat can be true of neither set.
The correlation is over the images in the top of either set; a random order is below 0 there, as what one set puts at
its top is lower in the other."""
PRECISION = """Precision: share of the top that has a unit in common with the query; chance is the share of all images.
A high one is no proof of influence: likeness alone has it too."""
TRACING = """A training image should come first for itself, or nearly so. It is a check that a method works at all:
likeness of pixels passes it by definition."""
SPECIFICITY = """More different images, and fewer that recur, are more specific. Chance is that of a random order, which
is as specific as can be and says nothing. Images that recur for unlike pictures tell of the method, often of long
gradients; for pictures that are alike it may be right."""

#: Units of each of several images.
Units = Sequence[tuple[str, ...]]


def specificity(
    scores: SCORES,
    top: Annotated[int, typer.Option(min=1, help="Training images at the top of each query that are looked at.")] = 20,
) -> None:
    """Are different pictures traced to different training images, or all to the same few?

    Counts the different training images among the top of all queries, and how many of them are at the top of half of
    the queries or more. Intervals are over queries.

    Example: `whence evaluate specificity scores/`
    """
    from whence.evaluation.ranking.specificity import specificity as measure
    from whence.scores.stored import read_scores

    stored, statistics = read_scores(scores), {}
    forms = {f"different images in all top {top}": ",.0f", "share of images in half of them": ".2%"}
    for method in stored:
        result = measure(method.scores.scores.numpy(), top)
        statistics[method.name] = dict(zip(forms, (result.different, result.recurring), strict=True))
    show_sizes(stored)
    show_statistics(statistics, forms)
    show_paragraph(SPECIFICITY)


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
    from whence.evaluation.ranking.repeatability import independent_pairs
    from whence.evaluation.ranking.repeatability import repeatability as measure
    from whence.scores.stored import read_scores

    stored, others = read_scores([first]), read_scores([second])
    statistics, forms = {}, {f"rank correlation, top {top}": ".3f", f"overlap, top {top}": ".3f"}
    for name, (a, b) in independent_pairs(stored, others).items():
        result = measure(a.scores.numpy(), b.scores.numpy(), top)
        draws = f"{a.draws} draws" if a.draws == b.draws else f"{a.draws} and {b.draws} draws"
        statistics[f"{name} ({draws})"] = dict(zip(forms, (result.correlation, result.overlap), strict=True))
    show_sizes([*stored, *others])
    show_statistics(statistics, forms)
    show_paragraph(REPEATABILITY)
    left_out = [method.name for method in stored if not method.scores.draws]
    if left_out:
        say(f"Without draws, so the same every time: {', '.join(left_out)}.")
    replayed = [s.name for s in stored if (method := METHODS.get(s.scores.method)) and method.over == "record"]
    if replayed:
        say(f"In both sets training images have their recorded draws; only the queries' differ: {', '.join(replayed)}.")


def retrieval(
    scores: SCORES,
    queries: Annotated[
        str | None,
        typer.Option(help="Data that the queries are from, for their units. Default: they are training images."),
    ] = None,
    data: LABELLED_DATA = None,
    unit_column: UNIT_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    top: Annotated[int, typer.Option(min=1, help="Training images at the top of each query that are looked at.")] = 10,
) -> None:
    """How many of the training images at the top are of the query's own class, or source? Is it traced to itself?

    Precision is the share of the top that has a unit in common with the query; a query that is a training image is not
    counted for itself. Where the queries are training images, it is also shown where each comes in the ranking for
    itself. Intervals are over queries.

    Example: `whence evaluate retrieval scores/ --queries digits:test --data digits --unit-column label`
    """
    from whence.scores.stored import read_scores

    stored, statistics, read = read_scores(scores), {}, partial(_units_of, unit_column, resolution, grey)
    precision = f"precision of the top {top}"
    traced = ("itself first", "itself in the top 10", "1 / place of itself")
    for method in stored:
        examples, labels = method.scores.units, None
        if data is not None:
            examples = read(data, method.scores.examples, f"training images of {method.name}")
        if queries is not None:
            labels = read(queries, method.scores.queries, f"queries of {method.name}")
        numbers = {} if queries is not None else dict(zip(traced, _tracing(method, scores), strict=True))
        share = _precision(method.scores, labels, examples, top)
        statistics[method.name] = ({precision: share} if share else {}) | numbers
    show_sizes(stored)
    show_statistics(statistics, {precision: ".3f", **dict.fromkeys(traced, ".3f")})
    if any(precision in numbers for numbers in statistics.values()):
        show_paragraph(PRECISION)
    else:
        say("No two training images have a unit in common, so there is no precision: --data DATA --unit-column COLUMN.")
    if queries is None:
        show_paragraph(TRACING)


def _precision(scores: whence.Scores, labels: Units | None, examples: Units, top: int) -> Statistic | None:
    """Precision of the top; None where every image is a unit of its own."""
    from whence.evaluation.queries import self_columns
    from whence.evaluation.ranking.retrieval import precision, shared_units

    columns = self_columns(scores)
    if len({unit for units in examples for unit in units}) == sum(map(len, examples)):
        return None
    right = shared_units([examples[n] for n in columns] if labels is None else labels, examples)
    return precision(scores.scores.numpy(), right, top, itself=columns)


def _tracing(stored: StoredScores, paths: list[Path]) -> tuple[Statistic, Statistic, Statistic]:
    """Where training images come in the ranking for themselves."""
    from whence.evaluation.queries import training_image_columns
    from whence.evaluation.ranking.retrieval import tracing

    result = tracing(stored.scores.scores.numpy(), training_image_columns(stored, paths))
    return result.first, result.in_top, result.reciprocal


def outliers(
    scores: SCORES,
    outliers: Annotated[list[str], typer.Option(help="Unit whose training images are the outliers; may be repeated.")],
    data: LABELLED_DATA = None,
    unit_column: UNIT_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
) -> None:
    """Do training images that don't belong stand out by their influence on themselves?

    The queries must be training images: the score of each one for itself is its self-influence. Outliers are known by
    their unit. Intervals are over images, outliers and others each drawn among themselves.

    Example: `whence evaluate outliers scores/ --outliers zeros`
    """
    from whence.evaluation.queries import training_image_columns
    from whence.evaluation.ranking.retrieval import outliers as measure
    from whence.scores.stored import read_scores

    stored, statistics = read_scores(scores), {}
    forms = {"area under the ROC curve": ".3f", "recall among as many": ".3f", "average precision": ".3f"}
    for method in stored:
        columns, units = training_image_columns(method, scores), method.scores.units
        if data is not None:
            units = _units_of(unit_column, resolution, grey, data, method.scores.examples, "training images")
        self_influence = method.scores.scores.numpy()[range(len(columns)), columns]
        result = measure(self_influence, _outlier_mask(units, columns, outliers))
        statistics[method.name] = dict(zip(forms, (result.area, result.recall, result.precision), strict=True))
    show_sizes(stored)
    show_statistics(statistics, forms)
    show_paragraph(OUTLIERS)


def _outlier_mask(units: Units, columns: np.ndarray, outliers: list[str]) -> np.ndarray:
    """Which queries are outliers, bool [Q], by the units of the training images."""
    import numpy as np

    known = {unit for names in units for unit in names}
    for unit in outliers:
        if unit not in known:
            first = ", ".join(repr(name) for name in sorted(known)[:5])
            raise DataError(
                f"No training image is of the unit {unit!r}; there are {first}{' ...' if len(known) > 5 else ''}. "
                "Units of a column: --data DATA --unit-column COLUMN."
            )
    return np.array([bool(set(outliers) & set(units[n])) for n in columns])


def _units_of(
    unit_column: str | None, resolution: int | None, grey: bool, data: str, names: Sequence[str], noun: str
) -> Units:
    """Return the units of images of a data set, which are in a column of it."""
    units = _read_units(data, unit_column, resolution, grey)
    unknown = [name for name in names if name not in units]
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(names)} {noun} are not in {data}, such as {unknown[0]!r}. Give the data that they "
            "are from."
        )
    return tuple(units[name] for name in names)


@cache
def _read_units(data: str, unit_column: str | None, resolution: int | None, grey: bool) -> dict[str, tuple[str, ...]]:
    """Units of a data set by id."""
    images = load_beside(data, unit_column=unit_column, resolution=resolution, grey=grey)
    return dict(zip(images.ids, images.units, strict=True))
