"""Plots as SVG inside the page: text of the page's size at every width, words for those who can't see them.

Marks lie in a square that is stretched over the plot; lines, dots and text keep their size. The y axis
of the square points down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from markupsafe import Markup
from torch import Tensor

from whence.ensemble.influence import Influence
from whence.statistics.ticks import linear_ticks

#: Side of the square. Marks lie at whole numbers, and those in one place are one: a plot has its limits.
SIDE = 2000


def distance_plot(reading: Influence, anchor: str, title: str, description: str) -> Markup:
    """Distances of all units from the largest, over the placebos: their middle 90%, their largest, and all in order.

    Args:
        reading: Distances of units and placebos.
        anchor: Id of the plot on the page.
        title: What it shows.
        description: What is to be seen.

    Returns:
        The plot; units that are named have larger dots.
    """
    units, beside = reading.effects[reading.order].tolist(), sorted(reading.placebos.tolist(), reverse=True)
    top = 1.06 * max(units[:1] + beside[:1]) or 1.0
    named = len(reading.influential)
    parts = [*_scale(top), *_counts(len(units))]
    if beside:
        low, high = middle(reading.placebos)
        parts.append(
            Markup('<rect class="band" width="100%" y="{}%" height="{}%"/>').format(
                _share(1 - high / top), _share((high - low) / top)
            )
        )
        parts.append(_level("most", beside[0] / top))
    if reading.threshold is not None:
        parts.append(_level("threshold", reading.threshold / top))
    parts.append(
        square(
            {
                "units" if len(units) > 1 else "together": _dots(_places(units, top)[named:]),
                "beside": "M" + "L".join(dict.fromkeys(_places(beside, top))) if beside else "",
                "named": _dots(_places(units, top)[:named]),
            }
        )
    )
    order = "units, from the largest distance to the smallest" if len(units) > 1 else "the units together"
    return frame(parts, anchor, title, description, (f"distance from picture {reading.query}", order))


def middle(placebos: Tensor) -> tuple[float, float]:
    """Between which numbers the middle 90% of some lie: their quantiles of 5% and 95%."""
    low, high = torch.quantile(placebos.double(), torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return low, high


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
    ).format(_share(1 - height), label)


def tick_x(place: float, label: str) -> Markup:
    """A label below the plot at a place from 0 to 1."""
    return Markup('<text class="middle" x="{}%" y="100%" dy="19">{}</text>').format(_share(place), label)


def along(value: float, low: float, high: float) -> float:
    """Place on a logarithmic axis, from 0 to 1."""
    return math.log(value / low) / math.log(high / low)


def _scale(top: float) -> list[Markup]:
    return [tick_y(tick / top, f"{tick:g}") for tick in linear_ticks(top)]


def _counts(count: int) -> list[Markup]:
    """Ranks of units below the plot, from the first; none where there is but one."""
    if count == 1:
        return []
    ranks = [int(tick) for tick in linear_ticks(count, 4) if tick >= 1 and tick == int(tick)]
    ranks = [1, *(rank for rank in ranks if rank > max(1, count // 10))]
    return [tick_x((rank - 0.5) / count, f"{rank:,}") for rank in ranks]


def _level(name: str, height: float) -> Markup:
    return Markup('<line class="{0}" x2="100%" y1="{1}%" y2="{1}%"/>').format(name, _share(1 - height))


def square(paths: Mapping[str, str]) -> Markup:
    """Lines in the square that is stretched over the plot: path data by class."""
    lines = [Markup('<path class="{}" d="{}"/>').format(name, path) for name, path in paths.items() if path]
    return Markup('<svg viewBox="0 0 {0} {0}" preserveAspectRatio="none">{1}</svg>').format(
        SIDE, Markup("").join(lines)
    )


def _places(descending: Sequence[float], top: float) -> list[str]:
    """Places in the square, evenly spread from left to right."""
    count = len(descending)
    return [f"{SIDE * (k + 0.5) / count:.0f} {SIDE * (1 - value / top):.0f}" for k, value in enumerate(descending)]


def _dots(places: Iterable[str]) -> str:
    """Lines without length: their round ends are dots, whatever the square is stretched to."""
    return "".join(f"M{place}h0" for place in dict.fromkeys(places))


def _share(part: float) -> str:
    return f"{100 * part:.4g}"
