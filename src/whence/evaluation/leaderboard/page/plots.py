"""Which plots the page has, from its sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whence.evaluation.leaderboard.page.curves import curve_plot
from whence.evaluation.leaderboard.page.dots import dot_plot
from whence.evaluation.leaderboard.page.panels import panel_plot
from whence.evaluation.leaderboard.sections import Figure, Point, Section

#: Name of the file of a plot, by its section.
FILES = {name: f"leaderboard-{name}.svg" for name in ("lds", "choices", "draws", "deterministic", "ablation")}
LDS = "linear datamodeling score (LDS)"
#: Plain LDS by kind of query.
KINDS = ("held-out", "drawn")


@dataclass(frozen=True)
class Plot:
    """A plot of the page.

    Attributes:
        content: The SVG file.
        title: What it shows.
        description: What is to be seen, for those who can't.
    """

    content: Markup
    title: str
    description: str


def plots(sections: Mapping[str, Section], methods: Sequence[str]) -> dict[str, Plot]:
    """Return the plots by section; those of which nothing was measured are left out.

    Args:
        sections: What was measured.
        methods: The rows, in order.
    """
    empty = Section(section="")
    own = {name: sections.get(name, empty) for name in FILES}
    found = {
        "lds": _dots(own["lds"], methods, KINDS, LDS, "LDS of every method"),
        "choices": _damping(own["choices"], methods),
        "draws": _draws(own["draws"], methods, _levels(own["lds"])),
        "deterministic": _dots(
            own["deterministic"], methods, own["deterministic"].columns, LDS, "LDS where the same run is repeated"
        ),
        "ablation": _dots(own["ablation"], list(own["ablation"].rows), ("plain", "squared"), LDS, "LDS step by step"),
    }
    return {name: plot for name, plot in found.items() if plot}


def _dots(section: Section, methods: Sequence[str], columns: Sequence[str], axis: str, title: str) -> Plot | None:
    """Some columns of a section, a row for each method."""
    series = {name: figures for name in columns if (figures := section.column(name))}
    rows = [name for name in methods if any(name in figures for figures in series.values())]
    if not rows:
        return None
    best = {name: max(figures, key=lambda one: figures[one].value) for name, figures in series.items()}
    highest = ", ".join(f"{name}: {method}" for name, method in best.items())
    description = f"A mark with its 95% interval for each of {len(rows)} rows. Highest by column: {highest}."
    return Plot(dot_plot(rows, series, axis, title, description), title, description)


def _draws(section: Section, methods: Sequence[str], levels: Mapping[str, float]) -> Plot | None:
    """LDS by number of draws."""
    series = _positive(section.curves.get("lds over draws", {}), methods)
    if not series:
        return None
    title = "LDS by number of draws"
    last = max(series, key=lambda name: series[name][-1].value)
    description = f"A curve with 95% intervals for each of {len(series)} methods; at most draws {last} is the highest."
    axes = ("draws per image", "LDS")
    return Plot(curve_plot(series, levels, axes, title, description), title, description)


def _damping(section: Section, methods: Sequence[str]) -> Plot | None:
    """Development LDS by damping."""
    series = _positive(section.curves.get("damping", {}), methods)
    if not series:
        return None
    title = "Development LDS by damping"
    chosen = {name: chosen_point(section, name, points) for name, points in series.items()}
    description = f"A small plot for each of {len(series)} methods, the chosen damping marked, the other methods pale."
    axes = ("damping, in mean eigenvalues of the kernel", "development LDS")
    return Plot(panel_plot(series, chosen, axes, title, description), title, description)


def chosen_point(section: Section, method: str, points: Sequence[Point]) -> Point:
    """Return the point of the damping that was chosen; the highest where the section doesn't say.

    Args:
        section: How damping was chosen.
        method: The method.
        points: Its points, at least one.
    """
    highest = max(points, key=lambda point: point.value)
    figure = section.column("damping").get(method)
    return highest if figure is None else next((point for point in points if point.x == figure.value), highest)


def _levels(lds: Section) -> dict[str, float]:
    """Where the ceiling and chance lie if both kinds of queries are taken together, from those that are known."""
    found = {}
    for name, bound in (("ceiling", "ceiling"), ("by chance", "chance")):
        known = [_first(lds.column(kind), bound) for kind in KINDS]
        values = [value for value in known if value is not None]
        if values:
            found[name] = sum(values) / len(values)
    return found


def _first(figures: Mapping[str, Figure], bound: str) -> float | None:
    """The first known bound of some figures."""
    return next((value for one in figures.values() if (value := getattr(one, bound)) is not None), None)


def _positive(series: Mapping[str, Sequence[Point]], methods: Sequence[str]) -> dict[str, list[Point]]:
    """Series in the order of the rows, each in the order of x, what a logarithmic axis can't show left out."""
    order = [*(name for name in methods if name in series), *(name for name in series if name not in methods)]
    found = {name: sorted((p for p in series[name] if p.x > 0), key=lambda p: p.x) for name in order}
    return {name: points for name, points in found.items() if points}
