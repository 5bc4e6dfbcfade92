"""The plots of the page in matplotlib: dots in rows, curves with a legend, and a small panel for each curve."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whence.evaluation.leaderboard.sections import Figure, Point, Section
from whence.evaluation.leaderboard.tables import number

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
    "text.parse_math": False,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    **dict.fromkeys(("font.size", "axes.titlesize", "figure.labelsize"), 9),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), GRID),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
}
#: Name of the file of a plot, by its section.
FILES = {name: f"leaderboard-{name}.svg" for name in ("lds", "choices", "draws", "deterministic", "ablation")}
LDS = "linear datamodeling score (LDS)"
#: Columns of the plain LDS, by kind of query.
KINDS = ("held-out", "drawn")


@dataclass(frozen=True)
class Plot:
    """A plot of the page: its chart, what it shows, and what is to be seen, for those who can't see it."""

    chart: Chart
    title: str
    description: str

    def svg(self) -> bytes:
        """Return the plot as an SVG file; the same plot gives the same bytes."""
        import matplotlib as mpl

        buffer, metadata = io.BytesIO(), {"Date": None, "Title": self.title, "Description": self.description}
        with mpl.rc_context(STYLE):
            self.chart.savefig(buffer, format="svg", metadata=metadata)
        return buffer.getvalue()


def draw_plots(sections: Mapping[str, Section], methods: Sequence[str]) -> dict[str, Plot]:
    """Return the plots by section, methods in this order; a section without a measured figure has none."""
    import matplotlib as mpl

    lds, choices, draws, repeated, ablation = (sections.get(name, Section(section=name)) for name in FILES)
    with mpl.rc_context(STYLE):
        plots = {
            "lds": _dot_plot(lds, methods, KINDS, "LDS of every method"),
            "choices": _damping_plot(choices, methods),
            "draws": _draws_plot(draws, methods, _levels(lds)),
            "deterministic": _dot_plot(repeated, methods, repeated.columns, "LDS where the same run is repeated"),
            "ablation": _dot_plot(ablation, list(ablation.rows), ("plain", "squared"), "LDS step by step"),
        }
    return {name: plot for name, plot in plots.items() if plot}


def chosen_point(section: Section, method: str, points: Sequence[Point]) -> Point:
    """Return the point of the damping that the section ``choices`` says was chosen, or else the highest point."""
    highest = max(points, key=lambda point: point.value)
    figure = section.column("damping").get(method)
    return highest if figure is None else next((point for point in points if point.x == figure.value), highest)


def _dot_plot(section: Section, methods: Sequence[str], columns: Sequence[str], title: str) -> Plot | None:
    """A row for each method, with marks and intervals of some columns, their ceilings (dashed) and chance (dotted)."""
    series = {name: figures for name in columns if (figures := section.column(name))}
    rows = [name for name in methods if any(name in figures for figures in series.values())]
    if not rows:
        return None
    chart = _empty_chart(0.9 + len(rows) * (ROW + SERIES * len(series)))
    axes = chart.subplots()
    for k in range(0, len(rows), 2):
        axes.axhspan(k - 0.5, k + 0.5, color=BAND, linewidth=0, zorder=0)
    for kind, (name, figures) in enumerate(series.items()):
        places = {k: figures[method] for k, method in enumerate(rows) if method in figures}
        aside = SERIES * (kind - (len(series) - 1) / 2) / (ROW + SERIES * len(series))
        _add_dots(axes, places, aside, kind, name)
    axes.axvline(0, color=GRID, linewidth=1, zorder=0.5)
    axes.set(xlabel=LDS, ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [_shortened(name) for name in rows])
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    known = {b for b in BOUNDS for figures in series.values() for f in figures.values() if getattr(f, b) is not None}
    _add_legend(chart, axes, [BOUNDS[bound] for bound in BOUNDS if bound in known])
    best = {name: max(figures, key=lambda method: figures[method].value) for name, figures in series.items()}
    highest = ", ".join(f"{name}: {method}" for name, method in best.items())
    description = f"A mark with its 95% interval for each of {len(rows)} rows. Highest by column: {highest}."
    return Plot(chart, title, description)


def _draws_plot(section: Section, methods: Sequence[str], levels: Mapping[str, float]) -> Plot | None:
    """A curve of the LDS for each method over the number of draws, and lines across the plot at some levels."""
    series = _positive(section.curves.get("lds over draws", {}), methods)
    if not series:
        return None
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
    axes.set(xlabel="draws per image", ylabel="LDS")
    legend = [line for _, line in sorted(ends, key=lambda end: -end[0])]
    chart.legend(handles=legend, loc="outside right center")
    last = max(series, key=lambda name: series[name][-1].value)
    description = f"A curve with 95% intervals for each of {len(series)} methods; at most draws {last} is the highest."
    return Plot(chart, "LDS by number of draws", description)


def _damping_plot(section: Section, methods: Sequence[str]) -> Plot | None:
    """A panel for each method: its development LDS by damping, and the curves of all other methods pale behind it."""
    series = _positive(section.curves.get("damping", {}), methods)
    if not series:
        return None
    chosen = {name: chosen_point(section, name, points) for name, points in series.items()}
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
    chart.supxlabel("damping, in mean eigenvalues of the kernel")
    chart.supylabel("development LDS")
    description = f"A small plot for each of {len(series)} methods, the chosen damping marked, the other methods pale."
    return Plot(chart, "Development LDS by damping", description)


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


def _levels(lds: Section) -> dict[str, float]:
    """Ceiling and chance for both kinds of queries together: the mean of those that are known."""
    levels = {}
    for bound in BOUNDS:
        of_kinds = [[getattr(figure, bound) for figure in lds.column(kind).values()] for kind in KINDS]
        firsts = [next((value for value in values if value is not None), None) for values in of_kinds]
        known = [value for value in firsts if value is not None]
        if known:
            levels[bound] = sum(known) / len(known)
    return levels


def _positive(series: Mapping[str, Sequence[Point]], methods: Sequence[str]) -> dict[str, list[Point]]:
    """Series in the order of the methods, points in the order of x, without points that have no logarithm."""
    order = [*(name for name in methods if name in series), *(name for name in series if name not in methods)]
    points = {name: sorted((p for p in series[name] if p.x > 0), key=lambda p: p.x) for name in order}
    return {name: of_method for name, of_method in points.items() if of_method}
