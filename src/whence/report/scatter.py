"""A plot of runs: radius and placebo radius against the number of training images, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whence.report.plots import along, frame, tick_x, tick_y
from whence.statistics.ticks import log_ticks

#: Pixels of a narrow plot, of a letter above it, and between runs of one size.
NARROW, LETTER, ASIDE = 290, 18, 20
#: An axis spans at least this factor.
SPAN = 2.5
#: The marks of a run: of its placebos, of as many units, of all units.
MARKS = {
    "placebo": Markup('<rect class="placebo" x="-5" y="{:.4g}%" width="10" height="10" transform="translate(0 -5)"/>'),
    "matched": Markup('<circle class="matched" cy="{:.4g}%" r="8"/>'),
    "radius": Markup('<circle class="radius" cy="{:.4g}%" r="4.5"/>'),
}


@dataclass(frozen=True)
class Column:
    """What a run has in the plot.

    Attributes:
        letter: Its name there.
        images: Its training images.
        heights: A number for each of MARKS; None or 0 where a logarithm has no place for it.
    """

    letter: str
    images: int
    heights: Mapping[str, float | None]


@dataclass(frozen=True)
class Place:
    """Where something stands: a part of the width, and pixels aside."""

    share: float
    aside: float

    @property
    def pixels(self) -> float:
        """Pixels from the left in a narrow plot."""
        return NARROW * self.share + self.aside

    def put(self, content: Markup) -> Markup:
        """The content there."""
        return Markup('<svg x="{:.4g}%" width="1"><g transform="translate({:.4g})">{}</g></svg>').format(
            100 * self.share, self.aside, content
        )


def radius_plot(columns: Sequence[Column], anchor: str, title: str, description: str) -> Markup:
    """Three marks for each run, its letter above them.

    Args:
        columns: The runs.
        anchor: Id of the plot on the page.
        title: What it shows.
        description: What is to be seen.

    Returns:
        The plot; runs on as many images stand side by side.
    """
    drawn = [height for column in columns for height in column.heights.values() if height]
    (left, right), (low, high) = _range([column.images for column in columns]), _range(drawn or [1.0])
    parts = [tick_y(along(tick, low, high), f"{tick:g}") for tick in log_ticks(low, high)]
    parts += [tick_x(along(tick, left, right), short(tick)) for tick in log_ticks(left, right)]
    places = {}
    for column in columns:
        same = [one.letter for one in columns if one.images == column.images]
        aside = ASIDE * (same.index(column.letter) - (len(same) - 1) / 2)
        place = places[column.letter] = Place(along(column.images, left, right), aside)
        marks = [
            mark.format(100 * (1 - along(height, low, high)))
            for name, mark in MARKS.items()
            if (height := column.heights[name])
        ]
        parts.append(place.put(Markup("").join(marks)))
    return frame([*parts, *_letters(places)], anchor, title, description, ("geometric mean radius", "training images"))


def short(count: float) -> str:
    """Return a round number that needs little room.

    Example:
        >>> short(1000), short(15_000), short(1_500_000)
        ('1,000', '15k', '1.5M')
    """
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:g}k" if count < 1_000_000 else f"{count / 1e6:g}M"


def _letters(places: Mapping[str, Place]) -> list[Markup]:
    """Letters above the plot; those that would overlap stand together."""
    groups: list[list[str]] = []
    for letter in sorted(places, key=lambda one: places[one].pixels):
        groups.append([letter])
        while len(groups) > 1 and _overlap(groups[-2], groups[-1], places):
            groups[-2:] = [groups[-2] + groups[-1]]
    text = Markup('<text class="middle letter" y="-6">{}</text>')
    return [_centre(group, places).put(text.format(" ".join(group))) for group in groups]


def _overlap(a: Sequence[str], b: Sequence[str], places: Mapping[str, Place]) -> bool:
    return _centre(b, places).pixels - _centre(a, places).pixels < LETTER * (len(a) + len(b)) / 2


def _centre(group: Sequence[str], places: Mapping[str, Place]) -> Place:
    share, aside = (
        sum(places[letter].share for letter in group),
        sum(places[letter].aside for letter in group),
    )
    return Place(share / len(group), aside / len(group))


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From where to where a logarithmic axis goes: beyond the values on both sides, and SPAN at least."""
    low, high = min(values), max(values)
    more = max(1.25, (high / low) ** 0.1, math.sqrt(SPAN * low / high))
    return low / more, high * more
