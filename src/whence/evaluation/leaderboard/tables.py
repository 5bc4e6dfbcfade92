"""Tables of measured numbers in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from whence.evaluation.leaderboard.sections import Figure, Point, Section

#: Stands where nothing was measured.
NOTHING = "-"
#: Largest number of digits after the point.
MOST = 8
#: Smaller numbers are written with a power of ten, where no interval says how many digits count.
SMALL = 1e-4
#: A space that doesn't break.
NO_BREAK = "\N{NO-BREAK SPACE}"
_INTERVAL = re.compile(r" (\(.*\))")


def number(value: float, decimals: int | None = None) -> str:
    """Return a number as in tables: three digits by default, no zero before the point, commas between thousands."""
    text = _three_digits(value) if decimals is None else f"{value:,.{decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return re.sub(r"^(-?)0\.", r"\1.", text)


def _three_digits(value: float) -> str:
    """A number with three significant digits, without zeros at the end."""
    if value and abs(value) < SMALL:
        return f"{value:.2e}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def decimals_of(intervals: Iterable[tuple[float | None, float | None]], *, coarse: bool = False) -> int | None:
    """Return how many digits after the point numbers with these intervals need; None if none has a width.

    The half width gets two digits or, if `coarse`, half of the median half width one.
    """
    halves = [(high - low) / 2 for low, high in intervals if low is not None and high is not None and high > low]
    if not halves:
        return None
    half = median(halves)
    decimals = math.ceil(-math.log10(half / 2)) if coarse else math.ceil(-math.log10(half)) + 1
    return min(MOST, max(0, decimals))


def with_interval(value: float, low: float | None, high: float | None, decimals: int | None) -> str:
    """Return a number with its interval, such as ``.455 (.402 to .512)``."""
    if low is None or high is None:
        return number(value, decimals)
    return f"{number(value, decimals)} ({number(low, decimals)} to {number(high, decimals)})"


def column_cells(figures: Mapping[str, Figure], methods: Sequence[str]) -> list[str]:
    """Return the cells of a column: one for each method, then those of chance and of the ceiling.

    Where chance or ceiling differ between methods, they stand beside the numbers, and their own cell is empty.
    """
    decimals, cells = _figure_cells(figures)
    ends = []
    for bound, words in (("chance", "by chance"), ("ceiling", "ceiling")):
        bounds = {name: value for name, figure in figures.items() if (value := getattr(figure, bound)) is not None}
        shown = {name: number(value, decimals) for name, value in bounds.items()}
        shared = len(set(shown.values())) == 1
        ends.append(next(iter(shown.values())) if shared else "")
        for name in () if shared else shown:
            cells[name] += f"; {words} {shown[name]}"
    return [*(cells.get(name, NOTHING) for name in methods), *ends]


def narrow_cells(figures: Mapping[str, Figure], methods: Sequence[str]) -> list[str]:
    """Return the cells of a narrow column: coarser numbers, small intervals that stay in one line."""
    _, cells = _figure_cells(figures, coarse=True)
    return [_INTERVAL.sub(_in_small_letters, cells.get(name, NOTHING)) for name in methods]


def _figure_cells(figures: Mapping[str, Figure], *, coarse: bool = False) -> tuple[int | None, dict[str, str]]:
    """Digits after the point, and figures with their intervals by method."""
    decimals = decimals_of(((figure.low, figure.high) for figure in figures.values()), coarse=coarse)
    return decimals, {name: with_interval(f.value, f.low, f.high, decimals) for name, f in figures.items()}


def _in_small_letters(interval: re.Match[str]) -> str:
    """An interval in small letters with spaces that don't break."""
    return f" <sub>{interval[1].replace(' ', NO_BREAK)}</sub>"


def section_table(section: Section, methods: Sequence[str], first: str = "method") -> list[str]:
    """Return the lines of the table of a section: a row for each method that has figures, chance and ceilings."""
    names = [name for name in methods if section.rows.get(name)]
    columns = [column_cells(section.column(column), names) for column in section.columns]
    rows = list(zip(*columns, strict=True))
    heads = [*(escaped(name) for name in names), "*by chance*", "*ceiling*"]
    body = [(head, *row) for head, row in zip(heads, rows, strict=True) if any(row)]
    return markdown_table([first, *(escaped(column) for column in section.columns)], body)


def curve_table(
    series: Mapping[str, Sequence[Point]], methods: Sequence[str], x: str, chosen: Mapping[str, Point] | None = None
) -> list[str]:
    """Return the lines of the table of curves: a row for each method with points, a column for each x.

    The chosen point of each row is marked; without any, beside each point stands how many times the first one it is.
    """
    places = sorted({point.x for points in series.values() for point in points})
    decimals = decimals_of((point.low, point.high) for points in series.values() for point in points)
    rows = []
    for name in methods:
        points = {point.x: point for point in series.get(name, ())}
        if points:
            marked = chosen[name] if chosen is not None else None
            cells = [_point_cell(points.get(place), points[min(points)], marked, decimals) for place in places]
            rows.append((escaped(name), *cells))
    return markdown_table([x, *(number(place) for place in places)], rows)


def _point_cell(point: Point | None, first: Point, marked: Point | None, decimals: int | None) -> str:
    """A point of a row; see `curve_table`."""
    if point is None:
        return NOTHING
    text = with_interval(point.value, point.low, point.high, 3 if decimals is None else decimals)
    if marked is not None:
        return f"**{text}**" if point == marked else text
    return text if point == first or first.value <= 0 else f"{text}, x{point.value / first.value:.2g}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))
