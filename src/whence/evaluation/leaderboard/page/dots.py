"""A plot of methods below each other: marks with whiskers, and the ceiling of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from whence.evaluation.leaderboard.page import svg
from whence.evaluation.leaderboard.sections import Figure

#: Pixels of a row, of a series inside a row, and of the legend above.
ROW, APART, LEGEND = 14, 10, 40
#: Names are not wider than this.
NAMES = 210


def dot_plot(
    methods: Sequence[str], series: Mapping[str, Mapping[str, Figure]], axis: str, title: str, description: str
) -> Markup:
    """Return a plot of figures with their intervals, a row for each method, a mark for each series.

    Dashed lines in the colour of a series are its ceiling, dotted ones what chance gives.

    Args:
        methods: The rows from above.
        series: Figures by method, by name of the series.
        axis: What the figures are.
        title: What the plot shows.
        description: What is to be seen.
    """
    row = ROW + APART * len(series)
    left = min(NAMES, max(svg.width_of(name) for name in methods)) + 24
    top, bottom = LEGEND, LEGEND + row * len(methods)
    across = svg.linear_axis(axis, _values(series), left, svg.WIDTH - 24)
    parts = [*_legend(series, left), *svg.ticks_below(across, top, bottom)]
    for kind, figures in enumerate(series.values()):
        parts += _bounds(figures, methods, across, kind, (top, row))
    for k, name in enumerate(methods):
        middle = top + row * (k + 0.5)
        if k % 2 == 0:
            parts.insert(0, _band(middle - row / 2, row))
        parts.append(svg.text(left - 12, middle + 5, svg.shortened(name, NAMES), anchor="end"))
        for kind, figures in enumerate(series.values()):
            if name in figures:
                y = middle + APART * (kind - (len(series) - 1) / 2)
                parts += _mark(figures[name], across, kind, y)
    return svg.document(bottom + 56, title, description, parts)


def _bounds(
    figures: Mapping[str, Figure], methods: Sequence[str], axis: svg.Axis, kind: int, rows: tuple[float, float]
) -> list[Markup]:
    """Ceilings and chance of a series: a line through all rows where they share it, else one in each row."""
    (top, height), parts = rows, []
    for bound, colour, dashes in (("ceiling", svg.colour(kind), "6 3"), ("chance", svg.INK, "2 3")):
        known = {name: found for name, one in figures.items() if (found := getattr(one, bound)) is not None}
        if len(set(known.values())) == 1:
            spans = [(next(iter(known.values())), 0, len(methods))]
        else:
            spans = [(known[name], k, k + 1) for k, name in enumerate(methods) if name in known]
        for value, first, last in spans:
            x = axis.place(value)
            parts.append(svg.line(x, top + height * first, x, top + height * last, colour, width=1.5, dashes=dashes))
    return parts


def _mark(figure: Figure, axis: svg.Axis, kind: int, y: float) -> list[Markup]:
    """A number with its interval."""
    parts = []
    if figure.low is not None and figure.high is not None:
        parts.append(svg.line(axis.place(figure.low), y, axis.place(figure.high), y, svg.colour(kind), width=2))
    return [*parts, svg.mark(kind, axis.place(figure.value), y)]


def _legend(series: Mapping[str, Mapping[str, Figure]], left: float) -> list[Markup]:
    """The names of the series beside their marks, and what the lines mean; from the left, if there is room."""
    every = [one for figures in series.values() for one in figures.values()]
    lines = {
        "ceiling": ("6 3", any(one.ceiling is not None for one in every)),
        "by chance": ("2 3", any(one.chance is not None for one in every)),
    }
    shown = {words: dashes for words, (dashes, known) in lines.items() if known}
    wide = sum(svg.width_of(words) for words in [*series, *shown]) + 34 * len(series) + 44 * len(shown)
    parts, x = [], min(left, svg.WIDTH - wide)
    for kind, name in enumerate(series):
        parts += [svg.mark(kind, x, 18), svg.text(x + 12, 23, name)]
        x += svg.width_of(name) + 34
    for words, dashes in shown.items():
        parts += [svg.line(x, 18, x + 22, 18, svg.INK, width=1.5, dashes=dashes), svg.text(x + 28, 23, words)]
        x += svg.width_of(words) + 44
    return parts


def _values(series: Mapping[str, Mapping[str, Figure]]) -> list[float]:
    """All that the axis has to hold."""
    figures = [one for column in series.values() for one in column.values()]
    bounds = [(one.value, one.low, one.high, one.chance, one.ceiling) for one in figures]
    return [value for values in bounds for value in values if value is not None]


def _band(y: float, height: float) -> Markup:
    """A pale band behind every other row."""
    return Markup('<rect y="{:.1f}" width="{}" height="{:.1f}" fill="#f5f5f5"/>').format(y, svg.WIDTH, height)
