"""The plots of the page: which sections have one, and what it shows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whence.evaluation.leaderboard.page.charts import BOUNDS, STYLE, curve_chart, dot_chart, panel_chart
from whence.evaluation.leaderboard.sections import Figure, Point, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Chart

#: Name of the file of a plot, by its section.
FILES = {name: f"leaderboard-{name}.svg" for name in ("lds", "choices", "draws", "deterministic", "ablation")}
LDS = "linear datamodeling score (LDS)"
#: Columns of the plain LDS, by kind of query.
KINDS = ("held-out", "drawn")


@dataclass(frozen=True)
class Plot:
    """A plot of the page.

    Attributes:
        chart: The chart.
        title: What it shows.
        description: What is to be seen, for those who can't see it.
    """

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
    """Return the plots by section; a section without a measured figure has none.

    Args:
        sections: The measured sections.
        methods: The methods, in the order of the rows.
    """
    import matplotlib as mpl

    lds, choices, draws, repeated, ablation = (sections.get(name, Section(section=name)) for name in FILES)
    with mpl.rc_context(STYLE):
        plots = {
            "lds": _dots(lds, methods, KINDS, "LDS of every method"),
            "choices": _damping(choices, methods),
            "draws": _draws(draws, methods, _levels(lds)),
            "deterministic": _dots(repeated, methods, repeated.columns, "LDS where the same run is repeated"),
            "ablation": _dots(ablation, list(ablation.rows), ("plain", "squared"), "LDS step by step"),
        }
    return {name: plot for name, plot in plots.items() if plot}


def chosen_point(section: Section, method: str, points: Sequence[Point]) -> Point:
    """Return the point of the damping that was chosen; the highest where the section doesn't say.

    Args:
        section: The section ``choices``.
        method: The method.
        points: Its points, at least one.
    """
    highest = max(points, key=lambda point: point.value)
    figure = section.column("damping").get(method)
    return highest if figure is None else next((point for point in points if point.x == figure.value), highest)


def _dots(section: Section, methods: Sequence[str], columns: Sequence[str], title: str) -> Plot | None:
    """Some columns of a section, a row for each method."""
    series = {name: figures for name in columns if (figures := section.column(name))}
    rows = [name for name in methods if any(name in figures for figures in series.values())]
    if not rows:
        return None
    best = {name: max(figures, key=lambda method: figures[method].value) for name, figures in series.items()}
    highest = ", ".join(f"{name}: {method}" for name, method in best.items())
    description = f"A mark with its 95% interval for each of {len(rows)} rows. Highest by column: {highest}."
    return Plot(dot_chart(rows, series, LDS), title, description)


def _draws(section: Section, methods: Sequence[str], levels: Mapping[str, float]) -> Plot | None:
    """LDS by number of draws."""
    series = _positive(section.curves.get("lds over draws", {}), methods)
    if not series:
        return None
    last = max(series, key=lambda name: series[name][-1].value)
    description = f"A curve with 95% intervals for each of {len(series)} methods; at most draws {last} is the highest."
    return Plot(curve_chart(series, levels, ("draws per image", "LDS")), "LDS by number of draws", description)


def _damping(section: Section, methods: Sequence[str]) -> Plot | None:
    """Development LDS by damping."""
    series = _positive(section.curves.get("damping", {}), methods)
    if not series:
        return None
    chosen = {name: chosen_point(section, name, points) for name, points in series.items()}
    chart = panel_chart(series, chosen, ("damping, in mean eigenvalues of the kernel", "development LDS"))
    description = f"A small plot for each of {len(series)} methods, the chosen damping marked, the other methods pale."
    return Plot(chart, "Development LDS by damping", description)


def _levels(lds: Section) -> dict[str, float]:
    """Ceiling and chance for both kinds of queries together: the mean of those that are known."""
    levels = {}
    for bound in BOUNDS:
        firsts = [_first(lds.column(kind), bound) for kind in KINDS]
        known = [value for value in firsts if value is not None]
        if known:
            levels[bound] = sum(known) / len(known)
    return levels


def _first(figures: Mapping[str, Figure], bound: str) -> float | None:
    """The first known bound of the figures."""
    return next((value for figure in figures.values() if (value := getattr(figure, bound)) is not None), None)


def _positive(series: Mapping[str, Sequence[Point]], methods: Sequence[str]) -> dict[str, list[Point]]:
    """Series in the order of the methods, points in the order of x, without points that have no logarithm."""
    order = [*(name for name in methods if name in series), *(name for name in series if name not in methods)]
    points = {name: sorted((p for p in series[name] if p.x > 0), key=lambda p: p.x) for name in order}
    return {name: of_method for name, of_method in points.items() if of_method}
