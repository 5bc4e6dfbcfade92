"""Plots and bars, as SVG inside the page. Text has the size of the page's text at every width.

Marks lie in a square, with the y axis down, that is stretched over the plot; lines, dots and text keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

#: Side of the square. Marks lie at whole numbers, and those at one place are one mark: this limits the size of a plot.
SIDE = 2000


def frame(parts: Sequence[Markup], anchor: str, title: str, description: str, axes: tuple[str, str]) -> Markup:
    """A plot with a title and a description, for those who can't see it, and the names of the axes, y first."""
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
    svg = Markup('<svg viewBox="0 0 {0} {0}" preserveAspectRatio="none">{1}</svg>')
    return svg.format(SIDE, Markup("").join(lines))


def dots(places: Iterable[str]) -> str:
    """Path data of dots: lines without length, whose ends stay round when the square is stretched."""
    return "".join(f"M{place}h0" for place in dict.fromkeys(places))


def percent_of(part: float) -> str:
    """A part of the width or height in percent, for SVG."""
    return f"{100 * part:.4g}"


@dataclass(frozen=True)
class Scale:
    """How values that are compared with each other are written and drawn."""

    low: float  # smallest value that has a place; 0 at most
    high: float  # largest value that has a place; 0 at least
    power: int  # numbers are written in units of 10 to this power
    decimals: int  # digits after the point

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """A scale for values and the ends of their intervals: three digits for the largest of them."""
        values = [0.0, *values]
        largest = max(map(abs, values))
        order = math.floor(math.log10(largest)) if largest else 0
        power = 0 if -3 <= order <= 3 else order
        return cls(min(values), max(values), power, max(0, 2 - (order - power)))

    def number(self, value: float) -> str:
        """The value in units of the power."""
        text = f"{value * 10.0**-self.power:,.{self.decimals}f}"
        return (text if float(text.replace(",", "")) else text.removeprefix("-")).replace("-", "−")

    def place(self, value: float) -> float:
        """The place of a value, in percent of the width."""
        width = self.high - self.low
        return 100 * (value - self.low) / width if width else 0.0


def interval_bar(
    scale: Scale,
    value: float,
    interval: tuple[float, float] | None,
    style: str = "",
    label: str = "",
    band: tuple[float, float] | None = None,
) -> Markup:
    """Return an SVG bar from 0 to a value. Styles: `within`, an outline; `untested`, grey. The label says it in words.

    The band is a range behind the bar, such as that of placebos.
    """
    zero, end = scale.place(0.0), scale.place(value)
    side = " ".join(filter(None, ("opponent" if value < 0 else "proponent", style)))
    bar = Markup('<rect class="{}" x="{:.2f}%" y="4" width="{:.2f}%" height="8"/>')
    axis = Markup('<line class="zero" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="16"/>')
    parts = [bar.format(side, min(zero, end), abs(end - zero)), axis.format(zero)]
    if band is not None:
        left, right = map(scale.place, band)
        behind = Markup('<rect class="band" x="{:.2f}%" y="0" width="{:.2f}%" height="16"/>')
        parts.insert(0, behind.format(left, right - left))
    if interval is not None:
        low, high = map(scale.place, interval)
        parts.append(Markup('<line class="error" x1="{:.2f}%" x2="{:.2f}%" y1="8" y2="8"/>').format(low, high))
        cap = Markup('<line class="error" x1="{0:.2f}%" x2="{0:.2f}%" y1="5" y2="11"/>')
        parts += [cap.format(low), cap.format(high)]
    attributes = Markup(' role="img" aria-label="{}"').format(label) if label else Markup(' aria-hidden="true"')
    return Markup('<svg class="score"{}>{}</svg>').format(attributes, Markup("").join(parts))
