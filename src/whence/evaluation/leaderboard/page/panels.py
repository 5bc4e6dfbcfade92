"""Many small plots of one curve each, all the others pale behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from whence.evaluation.leaderboard.page import svg
from whence.evaluation.leaderboard.page.tables import number
from whence.evaluation.leaderboard.sections import Point

#: Plots in a row; pixels of a plot's height, of the words above it, between plots, and on the left of all.
ACROSS, HEIGHT, NAME, BETWEEN, LEFT = 3, 120, 50, 22, 56


def panel_plot(
    series: Mapping[str, Sequence[Point]],
    chosen: Mapping[str, Point],
    axes: tuple[str, str],
    title: str,
    description: str,
) -> Markup:
    """Return a plot for each series with one of its points marked.

    Args:
        series: Points by method; x is positive.
        chosen: The point that is marked, by method.
        axes: What x and y are.
        title: What the plot shows.
        description: What is to be seen.
    """
    width = (svg.WIDTH - LEFT) / ACROSS
    points = [point for own in series.values() for point in own]
    parts = []
    for k, name in enumerate(series):
        left, top = LEFT + width * (k % ACROSS), NAME + (HEIGHT + NAME) * (k // ACROSS)
        up = svg.linear_axis("", [point.value for point in points], top + HEIGHT, top, most=4)
        across = svg.log_axis("", sorted({point.x for point in points}), left, left + width - BETWEEN)
        parts += _heights(up, left, left + width - BETWEEN, labels=k % ACROSS == 0)
        parts += _places_below(across, top + HEIGHT) if k + ACROSS >= len(series) else []
        parts += [_curve(other, across, up, svg.GRID, 1) for other in series.values()]
        parts.append(_curve(series[name], across, up, svg.colour(0), 2))
        parts.append(svg.mark(0, across.place(chosen[name].x), up.place(chosen[name].value)))
        parts.append(svg.text(left, top - 26, svg.shortened(name, width - BETWEEN)))
        words = f"{number(chosen[name].value, 3)} at {number(chosen[name].x)}"
        parts.append(svg.text(left, top - 9, words, fill=svg.PALE))
    bottom = (HEIGHT + NAME) * -(-len(series) // ACROSS)
    parts.append(svg.text((LEFT + svg.WIDTH - BETWEEN) / 2, bottom + 46, axes[0], anchor="middle"))
    parts.append(svg.text(16, (NAME + bottom) / 2, axes[1], anchor="middle", turned=True))
    return svg.document(bottom + 62, title, description, parts)


def _heights(up: svg.Axis, left: float, right: float, *, labels: bool) -> list[Markup]:
    """Lines across a plot, with labels where it is the first in its row."""
    if labels:
        return [*svg.ticks_beside(up, left, right), svg.line(left, up.place(0), right, up.place(0), svg.PALE)]
    places = [(up.place(tick), svg.PALE if tick == 0 else svg.GRID) for tick in up.ticks]
    return [svg.line(left, y, right, y, colour) for y, colour in places]


def _places_below(across: svg.Axis, bottom: float) -> list[Markup]:
    """Labels of the first, the middle and the last place, inside the width of the plot."""
    ticks = across.ticks
    shown: dict[float, svg.Anchor] = {ticks[len(ticks) // 2]: "middle", ticks[0]: "start", ticks[-1]: "end"}
    return [svg.text(across.place(x), bottom + 18, number(x), anchor=anchor) for x, anchor in shown.items()]


def _curve(points: Sequence[Point], across: svg.Axis, up: svg.Axis, colour: str, width: float) -> Markup:
    return svg.path([(across.place(point.x), up.place(point.value)) for point in points], colour, width=width)
