"""A plot of methods as curves over a logarithmic axis, named at their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from whence.evaluation.leaderboard.page import svg
from whence.evaluation.leaderboard.sections import Point

#: Edges of the plot, and room for the names at the right.
TOP, BOTTOM, LEFT, NAMES = 40, 400, 62, 150
#: Pixels between names at least, and between marks of neighbours at one place.
BETWEEN, ASIDE = 18, 5


def curve_plot(
    series: Mapping[str, Sequence[Point]],
    levels: Mapping[str, float],
    axes: tuple[str, str],
    title: str,
    description: str,
) -> Markup:
    """Return a plot of curves with whiskers.

    Args:
        series: Points by method; x is positive.
        levels: Heights of dashed lines across the plot, by name.
        axes: What x and y are.
        title: What the plot shows.
        description: What is to be seen.
    """
    points = [point for own in series.values() for point in own]
    held = [value for point in points for value in (point.value, point.low, point.high) if value is not None]
    right = svg.WIDTH - NAMES - 30
    up = svg.linear_axis(axes[1], [*held, *levels.values()], BOTTOM, TOP)
    across = svg.log_axis(axes[0], sorted({point.x for point in points}), LEFT + 24, right - 20)
    parts = [*svg.ticks_beside(up, LEFT, right), *svg.ticks_below(across, TOP, BOTTOM, grid=False)]
    parts.append(svg.text(18, (TOP + BOTTOM) / 2, up.name, anchor="middle", turned=True))
    for value in levels.values():
        y = up.place(value)
        parts.append(svg.line(LEFT, y, right, y, svg.INK, width=1.5, dashes="6 3"))
    for kind, own in enumerate(series.values()):
        parts += _curve(own, kind, ASIDE * (kind - (len(series) - 1) / 2), across, up)
    ends = {name: (up.place(own[-1].value), svg.colour(kind)) for kind, (name, own) in enumerate(series.items())}
    ends |= {name: (up.place(value), svg.INK) for name, value in levels.items()}
    return svg.document(BOTTOM + 56, title, description, [*parts, *_names(ends, right)])


def _curve(points: Sequence[Point], kind: int, aside: float, across: svg.Axis, up: svg.Axis) -> list[Markup]:
    """One method: a line, whiskers and marks."""
    places = [(across.place(point.x) + aside, up.place(point.value)) for point in points]
    parts = [svg.path(places, svg.colour(kind), width=2)]
    for point, (x, y) in zip(points, places, strict=True):
        if point.low is not None and point.high is not None:
            parts.append(svg.line(x, up.place(point.low), x, up.place(point.high), svg.colour(kind), width=1.5))
        parts.append(svg.mark(kind, x, y))
    return parts


def _names(ends: Mapping[str, tuple[float, str]], right: float) -> list[Markup]:
    """The names at the heights of their ends, or as near to them as there is room, with a line that leads there."""
    order = sorted(ends, key=lambda name: ends[name][0])
    heights = spread([ends[name][0] for name in order], BETWEEN, TOP, BOTTOM)
    parts = []
    for name, height in zip(order, heights, strict=True):
        end, colour = ends[name]
        parts.append(svg.line(right + 2, end, right + 16, height, colour))
        parts.append(svg.text(right + 20, height + 5, svg.shortened(name, NAMES), fill=colour))
    return parts


def spread(heights: Sequence[float], between: float, top: float, bottom: float) -> list[float]:
    """Return heights that are as far apart as names need, near the given ones, which ascend.

    Names that would overlap stand together around their mean (pool adjacent violators), and all stay between top and
    bottom if there is room for them.

    Example:
        >>> spread([100, 104, 200], 18, 0, 400)
        [93.0, 111.0, 200.0]
        >>> spread([395, 398], 18, 0, 400)
        [382, 400]
    """
    groups: list[list[float]] = []  # of heights, each less what its place in the order needs
    for k, height in enumerate(heights):
        groups.append([height - between * k])
        while len(groups) > 1 and _mean(groups[-2]) > _mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    most = bottom - between * (len(heights) - 1)
    found = [max(top, min(most, _mean(group))) for group in groups for _ in group]
    return [height + between * k for k, height in enumerate(found)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
