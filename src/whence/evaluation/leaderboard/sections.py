"""Sections of the leaderboard: what is measured for each, and the JSON file that holds the result.

WORK/lds.json
    {"section": "lds", "seconds": 12.5, "notes": ["A plain sentence."],
     "rows": {METHOD: {COLUMN: {"value": 0.4, "low": 0.3, "high": 0.5, "chance": 0.0, "ceiling": 0.9}}},
     "curves": {NAME: {SERIES: [[x, value, low, high], ...]}}}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from whence import artefacts
from whence.errors import ArtefactError
from whence.statistics.statistic import Statistic

if TYPE_CHECKING:
    from whence.evaluation.leaderboard.board import Board

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class Figure(BaseModel):
    """A measured number.

    Attributes:
        value: The number.
        low: Lower end of its 95% interval; None where it has none.
        high: Upper end.
        chance: Mean of the number for a random order; None where there is no such mean.
        ceiling: The largest possible number; None where it isn't known.
    """

    model_config = ConfigDict(frozen=True)

    value: Number
    low: Number | None = None
    high: Number | None = None
    chance: Number | None = None
    ceiling: Number | None = None

    @model_validator(mode="after")
    def _check_interval(self) -> Self:
        _check_interval(self.low, self.high)
        return self


class Point(NamedTuple):
    """A measured number on a curve: its place, the number, and both ends of its interval, or None."""

    x: Number
    value: Number
    low: Number | None
    high: Number | None


#: Figures by method and column; None where there is none.
Rows = dict[str, dict[str, Figure | None]]


class Section(BaseModel):
    """Result of a section.

    Attributes:
        section: Name of the section.
        seconds: How long measuring took; None where that isn't known.
        rows: Figures by method and column.
        notes: Plain sentences about how it was measured.
        curves: Points by name of the curve and of the series.
    """

    model_config = ConfigDict(frozen=True)

    section: str
    seconds: Number | None = None
    rows: dict[str, dict[str, Figure]] = {}
    notes: list[str] = []
    curves: dict[str, dict[str, list[Point]]] = {}

    @model_validator(mode="after")
    def _check_intervals(self) -> Self:
        for series in self.curves.values():
            for points in series.values():
                for point in points:
                    _check_interval(point.low, point.high)
        return self

    def column(self, name: str) -> dict[str, Figure]:
        """Return the figures of a column by method, in the order of the rows, without methods that have none."""
        return {method: figures[name] for method, figures in self.rows.items() if name in figures}

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order in which they first come."""
        return list(dict.fromkeys(name for figures in self.rows.values() for name in figures))


@dataclass(frozen=True)
class SectionSpec:
    """Declaration of a section: how it is measured, and how the page shows it.

    Without `measure` the leaderboard only shows a file that was made otherwise. A higher version makes the section be
    measured again, and so does a change of the pools that it depends on, beside the development pool, or of the
    removals. The overview are columns that the table of all methods shows, by their heads there. `curve_head` is the
    head of the first column of a table of curves, by default the name of the curve.
    """

    name: str
    title: str
    question: str
    measure: Callable[[Board], Section] | None
    version: int = 1
    pools: tuple[str, ...] = ()
    removals: bool = False
    overview: Mapping[str, str] = field(default_factory=dict)
    curve_head: str | None = None


def make_figure(statistic: Statistic | None, ceiling: float | None = None) -> Figure | None:
    """Return a statistic as a figure; None where there is none or it is NaN."""
    if statistic is None or not math.isfinite(statistic.value):
        return None
    low, high = _interval_ends(statistic)
    chance, ceiling = (
        None if value is None or not math.isfinite(value) else float(value) for value in (statistic.chance, ceiling)
    )
    return Figure(value=statistic.value, low=low, high=high, chance=chance, ceiling=ceiling)


def plain_figure(value: float, chance: float | None = None) -> Figure | None:
    """Return a number without an interval as a figure; None where it is NaN."""
    return Figure(value=value, chance=chance) if math.isfinite(value) else None


def make_point(x: float, statistic: Statistic) -> Point:
    """Return a statistic at a place of a curve."""
    return Point(x, statistic.value, *_interval_ends(statistic))


def make_section(
    name: str, rows: Rows, notes: list[str], curves: Mapping[str, Mapping[str, list[Point]]] | None = None
) -> Section:
    """Return a section without the figures that are None."""
    known = {method: {head: figure for head, figure in row.items() if figure} for method, row in rows.items()}
    series = {title: dict(of_method) for title, of_method in (curves or {}).items()}
    return Section(section=name, rows={m: row for m, row in known.items() if row}, notes=notes, curves=series)


def write_section(work: Path, section: Section, inputs: Mapping[str, Any]) -> None:
    """Write a section into a folder, with what it was measured on."""
    artefacts.write_json(work / f"{section.section}.json", {**section.model_dump(), "inputs": inputs})


def is_measured(work: Path, name: str, inputs: Mapping[str, Any]) -> bool:
    """Return whether a folder holds a section that was measured on the same inputs."""
    file = work / f"{name}.json"
    measured_on = artefacts.read_json(file).get("inputs") if file.exists() else None
    return bool(measured_on == json.loads(json.dumps(inputs)))


def read_section(work: Path, name: str) -> Section | None:
    """Return a section from a folder; None where it isn't there. Raise ArtefactError if its file is damaged."""
    path = work / f"{name}.json"
    if not path.exists():
        return None
    try:
        section = Section.model_validate(artefacts.read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = " > ".join(str(key) for key in first["loc"]) or "the whole"
        raise ArtefactError(
            f"{path} can't be shown: {place}: {first['msg']}; given {str(first['input'])[:60]}. Delete it and run "
            "`whence leaderboard` again."
        ) from None
    if section.section != name:
        raise ArtefactError(f"{path} holds the section {section.section!r}, not {name!r}. Delete it and measure again.")
    return section


def _interval_ends(statistic: Statistic) -> tuple[float | None, float | None]:
    """Both ends of the interval, or twice None where one isn't finite."""
    low, high = statistic.interval.low, statistic.interval.high
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _check_interval(low: float | None, high: float | None) -> None:
    """Raise ValueError if an interval has one end only, or its ends are in the wrong order."""
    if (low is None) != (high is None):
        raise ValueError("an interval has two ends, or none")
    if low is not None and high is not None and low > high:
        raise ValueError("the lower end of an interval is above its upper end")
