"""Plots as SVG files of a fixed size with a white background, readable on light and dark pages.

Places are in pixels from the upper left corner. Everything is said with attributes, so that viewers which drop styles
show the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from whence.evaluation.leaderboard.page.tables import number
from whence.statistics.ticks import linear_ticks

#: Width of all plots.
WIDTH = 600
#: Size of letters, and how wide one is on average, in parts of its size.
SIZE, LETTER = 14, 0.56
#: Colours of text, of what is beside the point, and of the grid; all but the last are legible on white.
INK, PALE, GRID = "#222222", "#666666", "#dddddd"
#: Colours of series, told apart by people who don't see all colours; each goes with the mark of its place.
COLOURS = ("#0072b2", "#b34700", "#007a5a", "#aa3377", "#444444", "#5e4fa2", "#806000")

Anchor = Literal["start", "middle", "end"]
#: From a value to pixels.
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Axis:
    """An axis: where a value lies, and which values have a label.

    Attributes:
        name: What it says.
        place: From a value to pixels.
        ticks: The values that have a label.
    """

    name: str
    place: Scale
    ticks: Sequence[float]


def linear_axis(name: str, values: Sequence[float], start: float, end: float, most: int = 6) -> Axis:
    """Return an axis that holds all values and 0, with round numbers at both ends.

    Args:
        name: What it says.
        values: What it holds.
        start: Pixels of its lowest number.
        end: Pixels of its highest.
        most: About how many intervals it has.

    Example:
        >>> axis = linear_axis("LDS", [-0.05, 0.9], 0, 100)
        >>> axis.ticks, axis.place(1.0)
        ([-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 100.0)
    """
    low, high = min([0.0, *values]), max([0.0, *values])
    step = linear_ticks(high - low or 1.0, most)[1]
    first, last = math.floor(low / step + 1e-9), max(math.ceil(high / step - 1e-9), 1)
    ticks = [float(f"{k * step:.12g}") for k in range(first, last + 1)]

    def place(value: float) -> float:
        return start + (end - start) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    return Axis(name, place, ticks)


def log_axis(name: str, ticks: Sequence[float], start: float, end: float) -> Axis:
    """Return a logarithmic axis from the first of some positive values to the last; one alone is in the middle.

    Example:
        >>> log_axis("draws", [10, 100, 1000], 0, 100).place(100)
        50.0
    """
    low, high = min(ticks), max(ticks)

    def place(value: float) -> float:
        part = math.log(value / low) / math.log(high / low) if high > low else 0.5
        return start + (end - start) * part

    return Axis(name, place, ticks)


def document(height: float, title: str, description: str, parts: Sequence[Markup]) -> Markup:
    """Return a whole SVG file."""
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" '
        'font-family="Helvetica, Arial, sans-serif" font-size="{2}">\n<title>{3}</title>\n<desc>{4}</desc>\n'
        '<rect width="{0}" height="{1}" fill="#ffffff"/>\n{5}\n</svg>\n'
    ).format(WIDTH, _px(height), SIZE, title, description, Markup("\n").join(parts))


def text(x: float, y: float, words: str, *, anchor: Anchor = "start", fill: str = INK, turned: bool = False) -> Markup:
    """Return words whose baseline is at y; turned ones are read from below."""
    turn = Markup(' transform="rotate(-90 {} {})"').format(_px(x), _px(y)) if turned else Markup("")
    return Markup('<text x="{}" y="{}" text-anchor="{}" fill="{}"{}>{}</text>').format(
        _px(x), _px(y), anchor, fill, turn, words
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, dashes: str = "") -> Markup:
    """Return a straight line."""
    dashed = Markup(' stroke-dasharray="{}"').format(dashes) if dashes else Markup("")
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="{}" stroke-width="{}"{}/>').format(
        _px(x1), _px(y1), _px(x2), _px(y2), colour, width, dashed
    )


def path(places: Sequence[tuple[float, float]], colour: str, *, width: float) -> Markup:
    """Return a line through places."""
    points = " ".join(f"{_px(x)},{_px(y)}" for x, y in places)
    return Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="{}"/>').format(points, colour, width)


def colour(kind: int) -> str:
    """Return the colour of a series, by its place among them."""
    return COLOURS[kind % len(COLOURS)]


def mark(kind: int, x: float, y: float) -> Markup:
    """Return the mark of a series, by its place among them."""
    shapes = ("", "-4,-4 4,-4 4,4 -4,4", "0,-5.5 5,4 -5,4", "0,-6 6,0 0,6 -6,0")
    corners = shapes[kind % len(shapes)]
    if not corners:
        return Markup('<circle cx="{}" cy="{}" r="4.5" fill="{}"/>').format(_px(x), _px(y), colour(kind))
    return Markup('<polygon points="{}" transform="translate({} {})" fill="{}"/>').format(
        corners, _px(x), _px(y), colour(kind)
    )


def width_of(words: str) -> float:
    """Return about how many pixels words need."""
    return LETTER * SIZE * len(words)


def shortened(words: str, pixels: float) -> str:
    """Return words that fit into so many pixels.

    Example:
        >>> shortened("d-trak", 100), shortened("a name that is far too long", 100)
        ('d-trak', 'a name that…')
    """
    most = int(pixels / (LETTER * SIZE))
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def ticks_below(axis: Axis, top: float, bottom: float, *, grid: bool = True) -> list[Markup]:
    """Return an axis below a plot: lines from top to bottom, labels and its name."""
    parts = []
    for tick in axis.ticks:
        x = axis.place(tick)
        parts += [line(x, top, x, bottom, GRID)] if grid else []
        parts.append(text(x, bottom + 19, number(tick), anchor="middle"))
    middle = (axis.place(axis.ticks[0]) + axis.place(axis.ticks[-1])) / 2
    return [*parts, text(middle, bottom + 42, axis.name, anchor="middle")]


def ticks_beside(axis: Axis, left: float, right: float) -> list[Markup]:
    """Return an axis on the left of a plot: lines from left to right, and labels."""
    parts = []
    for tick in axis.ticks:
        y = axis.place(tick)
        parts += [line(left, y, right, y, GRID), text(left - 8, y + 5, number(tick), anchor="end")]
    return parts


def _px(value: float) -> str:
    """Pixels to a tenth, the same text on every machine."""
    return f"{value:.1f}".removesuffix(".0")
