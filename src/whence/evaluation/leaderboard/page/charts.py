"""Charts of measured numbers in matplotlib: dots in rows, curves with a legend, and a small panel for each curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whence.evaluation.leaderboard.page.tables import number
from whence.evaluation.leaderboard.sections import Figure, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Chart

#: Inches: width of all charts, height of a row and of each series in it, of a chart of curves, and of a panel.
WIDTH, ROW, SERIES, CURVES, PANEL = 6.25, 0.15, 0.1, 4.2, 1.75
#: Number of panels in a row, and of letters of a name.
ACROSS, LETTERS = 3, 34
#: Colours of text, of less important lines, of the grid and of every other row.
INK, PALE, GRID, BAND = "#222222", "#666666", "#dddddd", "#f5f5f5"
#: Colours of series, which colour-blind people can tell apart, and their marks.
COLOURS = ("#0072b2", "#b34700", "#007a5a", "#aa3377", "#444444", "#5e4fa2", "#806000")
MARKS = ("o", "s", "^", "D")
#: Bounds of a figure: name in the legend, and dashes of the line.
BOUNDS = {"ceiling": ("ceiling", (0, (4, 2))), "chance": ("by chance", (0, (1, 1.5)))}

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "whence",  # the same chart gives the same bytes
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.labelsize": 9,
    "grid.color": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def dot_chart(rows: Sequence[str], series: Mapping[str, Mapping[str, Figure]], axis: str) -> Chart:
    """Return a chart with a row for each method, and in it a mark with an interval for each series.

    A dashed line in the colour of a series is its ceiling, a dotted one what chance gives.

    Args:
        rows: Names of the methods, from above.
        series: Figures by method, by name of the series.
        axis: What the figures are.
    """
    chart = _empty_chart(0.9 + len(rows) * (ROW + SERIES * len(series)))
    axes = chart.subplots()
    for k in range(0, len(rows), 2):
        axes.axhspan(k - 0.5, k + 0.5, color=BAND, linewidth=0, zorder=0)
    for kind, (name, figures) in enumerate(series.items()):
        places = {k: figures[method] for k, method in enumerate(rows) if method in figures}
        aside = SERIES * (kind - (len(series) - 1) / 2) / (ROW + SERIES * len(series))
        _add_dots(axes, places, aside, kind, name)
    axes.axvline(0, color=GRID, linewidth=1, zorder=0.5)
    axes.set(xlabel=axis, ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [_shortened(name) for name in rows])
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    known = {b for b in BOUNDS for figures in series.values() for f in figures.values() if getattr(f, b) is not None}
    _add_legend(chart, axes, [BOUNDS[bound] for bound in BOUNDS if bound in known])
    return chart


def curve_chart(series: Mapping[str, Sequence[Point]], levels: Mapping[str, float], labels: tuple[str, str]) -> Chart:
    """Return a chart of curves with intervals over a logarithmic axis, and a legend in the order of their ends.

    Args:
        series: Points by method; x is positive.
        levels: Heights of lines across the chart, by name of the bound.
        labels: What x and y are.
    """
    chart = _empty_chart(CURVES)
    axes = chart.subplots()
    places = sorted({point.x for points in series.values() for point in points})
    aside = (places[-1] / places[0]) ** 0.015  # marks of neighbours at one place stand side by side
    ends = []
    for kind, (name, points) in enumerate(series.items()):
        colour, factor = COLOURS[kind % len(COLOURS)], aside ** (kind - (len(series) - 1) / 2)
        for point in points:
            if point.low is not None and point.high is not None:
                axes.vlines(point.x * factor, point.low, point.high, color=colour, linewidth=1.2)
        style: dict[str, Any] = {"color": colour, "markersize": 5, "label": _shortened(name)}
        x, y = [point.x * factor for point in points], [point.value for point in points]
        ends += [(y[-1], line) for line in axes.plot(x, y, MARKS[kind % len(MARKS)], linestyle="-", **style)]
    for bound, value in levels.items():
        words, dashes = BOUNDS[bound]
        ends.append((value, axes.axhline(value, color=INK, linewidth=1.2, linestyle=dashes, label=words)))
    _style_curves(axes, places)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    legend = [line for _, line in sorted(ends, key=lambda end: -end[0])]
    chart.legend(handles=legend, loc="outside right center")
    return chart


def panel_chart(series: Mapping[str, Sequence[Point]], chosen: Mapping[str, Point], labels: tuple[str, str]) -> Chart:
    """Return a chart with a panel for each method: its curve, and the curves of all other methods pale behind it.

    Args:
        series: Points by method; x is positive.
        chosen: The point that is marked, by method.
        labels: What x and y are.
    """
    rows = -(-len(series) // ACROSS)
    chart = _empty_chart(0.5 + PANEL * rows)
    panels = chart.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
    places = sorted({point.x for points in series.values() for point in points})
    for k, (axes, (name, points)) in enumerate(zip(panels, series.items(), strict=False)):
        for other in series.values():
            axes.plot([point.x for point in other], [point.value for point in other], color=GRID, linewidth=0.8)
        axes.plot([point.x for point in points], [point.value for point in points], color=COLOURS[0], linewidth=1.5)
        axes.plot([chosen[name].x], [chosen[name].value], "o", color=COLOURS[0], markersize=5)
        _style_curves(axes, list(dict.fromkeys([places[0], places[len(places) // 2], places[-1]])))
        axes.tick_params(labelbottom=k + ACROSS >= len(series))
        axes.set_title(f"{_shortened(name)}\n{number(chosen[name].value, 3)} at {number(chosen[name].x)}")
    for axes in panels[len(series) :]:
        axes.remove()
    chart.supxlabel(labels[0])
    chart.supylabel(labels[1])
    return chart


def _empty_chart(height: float) -> Chart:
    from matplotlib.figure import Figure as Chart

    return Chart(figsize=(WIDTH, height), layout="constrained")


def _add_dots(axes: Axes, figures: Mapping[int, Figure], aside: float, kind: int, name: str) -> None:
    """Add a series to a chart of dots: marks, intervals, ceilings and chance, by number of the row."""
    colour = COLOURS[kind % len(COLOURS)]
    for k, figure in figures.items():
        if figure.low is not None and figure.high is not None:
            axes.hlines(k + aside, figure.low, figure.high, color=colour, linewidth=1.5)
    values, heights = [figure.value for figure in figures.values()], [k + aside for k in figures]
    axes.plot(values, heights, MARKS[kind % len(MARKS)], color=colour, markersize=5, label=name, zorder=3)
    for bound, (_, dashes) in BOUNDS.items():
        known = {k: value for k, figure in figures.items() if (value := getattr(figure, bound)) is not None}
        line: dict[str, Any] = {"color": colour if bound == "ceiling" else INK, "linewidth": 1.2, "linestyle": dashes}
        if len(set(known.values())) == 1:
            axes.axvline(next(iter(known.values())), **line)
        else:
            for k, value in known.items():
                axes.vlines(value, k - 0.5, k + 0.5, **line)


def _add_legend(chart: Chart, axes: Axes, bounds: Sequence[tuple[str, Any]]) -> None:
    """Add the names of the series and of the bounds above the chart."""
    from matplotlib.lines import Line2D

    handles, names = axes.get_legend_handles_labels()
    lines = [Line2D([], [], color=INK, linewidth=1.2, linestyle=dashes) for _, dashes in bounds]
    names = [*names, *(words for words, _ in bounds)]
    chart.legend([*handles, *lines], names, loc="outside upper center", ncols=len(names))


def _style_curves(axes: Axes, ticks: Sequence[float]) -> None:
    """Give a chart of curves its axes: a logarithmic one with these ticks, and a linear one that holds 0."""
    axes.axhline(0, color=PALE, linewidth=0.8, zorder=0.5)
    axes.grid(axis="y")
    axes.set_xscale("log")
    axes.set_xticks(ticks, [number(tick) for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: number(value))


def _shortened(name: str) -> str:
    """A name of at most so many letters."""
    return name if len(name) <= LETTERS else name[: LETTERS - 1].rstrip() + "…"
