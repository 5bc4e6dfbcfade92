"""Options that the `whence evaluate` commands share, and the tables and notes that they print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whence.cli.show import say

if TYPE_CHECKING:
    from whence.evaluation.queries import Kind
    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic

SCORES = Annotated[
    list[Path], typer.Argument(help="What `whence attribute` wrote: OUT with its methods, or OUT/d-trak.")
]
BANK = Annotated[str, typer.Option(help="The retrained models: a directory, or `digits`, which comes with Whence.")]
POOL = Annotated[
    str, typer.Option(help="Which of them: `test`, `development` (to choose knobs), `deterministic-10%` ...")
]
KINDS = Annotated[Literal["all", "held-out", "drawn"], typer.Option(help="Kinds of queries, each a table.")]
USE = Annotated[
    Literal["reported", "development"], typer.Option(help="Queries for reported figures, or to choose knobs on.")
]
LABELLED_DATA = Annotated[
    str | None, typer.Option(help="The training images, if the scores don't hold these units: name --unit-column.")
]
#: From so many queries on, no warning says that intervals are wide.
MANY = 20


def kinds_of(queries: str) -> list[Kind]:
    """Return the kinds of queries that the option --queries names."""
    from whence.evaluation.queries import Kind

    return list(Kind) if queries == "all" else [Kind(queries)]


def show_statistics(rows: Iterable[tuple[str, str, Statistic, str]]) -> None:
    """Print numbers with their intervals and chance.

    Args:
        rows: Measure, method, number and format of the number.
    """
    lines, without_width = [("measure", "method", "value", "95% interval", "chance")], False
    for measure, method, statistic, form in rows:
        interval = statistic.interval
        without_width |= interval.low == interval.high
        ends = f"{format(interval.low, form)} to {format(interval.high, form)}"
        lines.append((measure, method, format(statistic.value, form), ends, format(statistic.chance, form)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        if number and line[0] != lines[number - 1][0]:
            say("")
        cells = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        say("  ".join(cells).rstrip())
    say("")
    if without_width:
        say("An interval without width: all that was measured says the same. Of n others, up to 3/n may still not.")


def by_measure(
    statistics: Mapping[str, Mapping[str, Statistic]], forms: Mapping[str, str]
) -> list[tuple[str, str, Statistic, str]]:
    """Return rows for `show_statistics`: all methods for the first measure, then for the next.

    Args:
        statistics: Numbers by method and measure.
        forms: Format of each measure.
    """
    return [
        (measure, method, numbers[measure], form)
        for measure, form in forms.items()
        for method, numbers in statistics.items()
        if measure in numbers
    ]


def show_paragraph(text: str) -> None:
    """Print a paragraph."""
    say(fill(" ".join(text.split()), 100))


def show_sizes(stored: Sequence[StoredScores]) -> None:
    """Print how many queries and training images scores have, and when they can't be compared with each other."""
    sizes = list(dict.fromkeys((len(scores.scores.queries), len(scores.scores.examples)) for scores in stored))
    say("; ".join(f"{queries:,} queries, {examples:,} training images" for queries, examples in sizes))
    if len({(frozenset(scores.scores.queries), frozenset(scores.scores.examples)) for scores in stored}) > 1:
        say("Note: these scores are not all of the same queries and training images, so lines can't be compared.")
    if min(queries for queries, _ in sizes) < MANY:
        say(f"Note: so few queries leave wide intervals; {MANY} or more make them narrower.")


def show_tuning_notes(stored: Sequence[StoredScores], pool: str, use: str, queries: set[str]) -> list[str]:
    """Print a warning for each reason why figures are too good, and return the warnings."""
    from whence.evaluation.queries import Use, tuning_notes

    notes = tuning_notes(stored, pool, Use(use), queries)
    for note in notes:
        say(f"Warning: {note}")
    return notes
