"""What the commands that measure scores share: their argument, and the table that they print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.show import say

if TYPE_CHECKING:
    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic as Statistic

SCORES = Annotated[
    list[Path], typer.Argument(help="What `whence attribute` wrote: OUT with its methods, or OUT/d-trak.")
]
#: Queries from which on an interval is narrow enough not to be warned about.
MANY = 20


def show_measures(rows: Iterable[tuple[str, str, Statistic, str]]) -> None:
    """Print numbers with their intervals and chance: rows of measure, method, number and its format."""
    lines, alike = [("measure", "method", "value", "95% interval", "chance")], False
    for measure, method, found, form in rows:
        alike |= found.interval.low == found.interval.high
        low, high = (format(end, form) for end in (found.interval.low, found.interval.high))
        lines.append((measure, method, format(found.value, form), f"{low} to {high}", format(found.chance, form)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        if number and line[0] != lines[number - 1][0]:
            say("")
        left, right = line[:2], line[2:]
        cells = [cell.ljust(width) for cell, width in zip(left, widths[:2], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(right, widths[2:], strict=True)]
        say("  ".join(cells).rstrip())
    say("")
    if alike:
        say("An interval without width: all that was measured says the same. Of n others, up to 3/n may still not.")


def show_words(text: str) -> None:
    """Print a paragraph."""
    say(fill(" ".join(text.split()), 100))


def by_measure(
    found: Mapping[str, Mapping[str, Statistic]], forms: Mapping[str, str]
) -> list[tuple[str, str, Statistic, str]]:
    """Return rows for `show_measures`, all methods for one measure after another.

    Args:
        found: Numbers by method and measure.
        forms: Format of each measure.
    """
    return [
        (measure, method, numbers[measure], form)
        for measure, form in forms.items()
        for method, numbers in found.items()
        if measure in numbers
    ]


def show_what(given: Sequence[StoredScores]) -> None:
    """Print of what the scores are, and when they can't be compared with each other."""
    sizes = list(dict.fromkeys((len(one.scores.queries), len(one.scores.examples)) for one in given))
    say("; ".join(f"{queries:,} queries, {examples:,} training images" for queries, examples in sizes))
    alike = {(frozenset(one.scores.queries), frozenset(one.scores.examples)) for one in given}
    if len(alike) > 1:
        say("Note: these scores are not all of the same queries and training images, so lines can't be compared.")
    if min(queries for queries, _ in sizes) < MANY:
        say(f"Note: so few queries leave wide intervals; {MANY} or more make them narrower.")
