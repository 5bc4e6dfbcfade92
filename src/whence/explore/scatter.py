"""The plot of effects against likeness: what mattered is often not what looks alike."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from whence.explore.reading import Reading
from whence.report.plot import SIDE, dots, frame, level, square, tick_x, tick_y
from whence.statistics.ticks import linear_ticks

#: Room around the outermost dots, as a share of the height.
MARGIN = 0.06


def scatter_plot(reading: Reading, distances: Mapping[str, float], noun: str) -> Markup:
    """Plot the effect of every row whose distance by pixels is known; what stands out has larger dots."""
    rows = [row for row in reading.rows if row.name in distances]
    effects = [0.0, *(row.effect for row in rows), *(reading.band or ())]
    low, high = min(effects), max(effects)
    room = MARGIN * ((high - low) or 1.0)
    low, high = low - room if low < 0 else low, high + room
    right = 1.04 * max(distances[row.name] for row in rows) or 1.0
    places = {
        row: f"{SIDE * distances[row.name] / right:.0f} {SIDE * (1 - (row.effect - low) / (high - low)):.0f}"
        for row in rows
    }
    steps = linear_ticks(max(high, -low), 4)
    ticks = sorted({tick for step in steps for tick in (step, -step) if low <= tick <= high})
    parts = [tick_y((tick - low) / (high - low), f"{tick:g}".replace("-", "−")) for tick in ticks]
    parts += [tick_x(tick / right, f"{tick:g}") for tick in linear_ticks(right, 5)]
    if reading.band is not None:
        parts += [level("most", (end - low) / (high - low)) for end in reading.band]
    paths = {
        "units": dots(place for row, place in places.items() if row.verdict != "above"),
        "named": dots(place for row, place in places.items() if row.verdict == "above"),
    }
    named = sum(row.verdict == "above" for row in rows)
    description = f"{len(rows):,} dots, one for each {noun}; {named:,} stand out. {reading.answer}"
    title = f"{reading.effect} against distance by pixels"
    axes = (reading.effect.lower(), "distance by pixels; the most alike are on the left")
    return frame([*parts, square(paths)], "scatter", title, description, axes)
