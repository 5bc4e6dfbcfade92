"""Parts of plots, as SVG inside the page. Text has the size of the page's text at every width.

Marks lie in a square that is stretched over the plot; lines, dots and text keep their size. The y axis
of the square points down. Every plot has a title and a description for those who can't see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

#: Side of the square. Marks lie at whole numbers, and those at one place are one mark: this limits the size of a plot.
SIDE = 2000


def frame(parts: Sequence[Markup], anchor: str, title: str, description: str, axes: tuple[str, str]) -> Markup:
    """An SVG image with title, description and names of the axes, y first."""
    return Markup(
        '<svg class="plot" role="img" aria-labelledby="{0}-title" aria-describedby="{0}-desc">'
        '<title id="{0}-title">{1}</title><desc id="{0}-desc">{2}</desc>{3}'
        '<text class="axis" x="-40" y="-24">{4}</text>'
        '<text class="axis middle" x="50%" y="100%" dy="40">{5}</text></svg>'
    ).format(anchor, title, description, Markup("").join(parts), *axes)


def tick_y(height: float, label: str) -> Markup:
    """A line across the plot at a height from 0 to 1, with its label."""
    return Markup(
        '<line class="grid" x2="100%" y1="{0}%" y2="{0}%"/><text class="end" x="-8" y="{0}%" dy="4">{1}</text>'
    ).format(percent_of(1 - height), label)


def tick_x(place: float, label: str) -> Markup:
    """A label below the plot at a place from 0 to 1."""
    return Markup('<text class="middle" x="{}%" y="100%" dy="19">{}</text>').format(percent_of(place), label)


def level(style: str, height: float) -> Markup:
    """A line across the plot at a height from 0 to 1."""
    return Markup('<line class="{0}" x2="100%" y1="{1}%" y2="{1}%"/>').format(style, percent_of(1 - height))


def along(value: float, low: float, high: float) -> float:
    """Place on a logarithmic axis, from 0 to 1."""
    return math.log(value / low) / math.log(high / low)


def square(paths: Mapping[str, str]) -> Markup:
    """Lines in the square that is stretched over the plot: path data by class."""
    lines = [Markup('<path class="{}" d="{}"/>').format(name, path) for name, path in paths.items() if path]
    return Markup('<svg viewBox="0 0 {0} {0}" preserveAspectRatio="none">{1}</svg>').format(
        SIDE, Markup("").join(lines)
    )


def dots(places: Iterable[str]) -> str:
    """Path data of dots: lines without length, whose ends stay round when the square is stretched."""
    return "".join(f"M{place}h0" for place in dict.fromkeys(places))


def percent_of(part: float) -> str:
    """A part of the width or height in percent, for SVG."""
    return f"{100 * part:.4g}"
