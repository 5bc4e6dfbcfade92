"""Figures from what was measured, and sections on disk with what they were measured on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.evaluation.leaderboard.sections import Figure, Point, Section
from whence.statistics.statistic import Statistic as Statistic

#: Figures by method and column; None where there is none.
Rows = dict[str, dict[str, Figure | None]]


def figure(measured: Statistic | None, ceiling: float | None = None) -> Figure | None:
    """Return a measured number as a figure; None where there is none or it is NaN.

    Args:
        measured: The number.
        ceiling: The most that it can be; None where that isn't known.

    Example:
        >>> from whence.statistics.bootstrap import Interval
        >>> figure(Statistic(0.5, Interval(0.25, 0.75, 0.95, 100, 0), 0.0), 0.9)
        Figure(value=0.5, low=0.25, high=0.75, chance=0.0, ceiling=0.9)
    """
    if measured is None or not math.isfinite(measured.value):
        return None
    low, high = _ends(measured)
    return Figure(value=measured.value, low=low, high=high, chance=_known(measured.chance), ceiling=_known(ceiling))


def bare(value: float, chance: float | None = None) -> Figure | None:
    """Return a number without an interval as a figure; None where it is NaN."""
    return Figure(value=value, chance=chance) if math.isfinite(value) else None


def point(x: float, measured: Statistic) -> Point:
    """Return a measured number at a place of a curve."""
    return Point(x, measured.value, *_ends(measured))


def made_section(
    name: str, rows: Rows, notes: list[str], curves: Mapping[str, Mapping[str, list[Point]]] | None = None
) -> Section:
    """Return a section without the figures that are None."""
    kept = {method: {column: one for column, one in row.items() if one is not None} for method, row in rows.items()}
    curves = {title: dict(series) for title, series in (curves or {}).items()}
    return Section(section=name, rows={method: row for method, row in kept.items() if row}, notes=notes, curves=curves)


def write_section(work: Path, section: Section, inputs: Mapping[str, Any]) -> None:
    """Write a section into a folder, with what it was measured on."""
    artefacts.write_json(work / f"{section.section}.json", {**section.model_dump(), "inputs": inputs})


def is_measured(work: Path, name: str, inputs: Mapping[str, Any]) -> bool:
    """Return whether a section is in a folder that was measured on the same.

    Raises:
        ArtefactError: Its file is damaged.
    """
    file = work / f"{name}.json"
    known = artefacts.read_json(file).get("inputs") if file.exists() else None
    return bool(known == json.loads(json.dumps(inputs)))


def _ends(measured: Statistic) -> tuple[float | None, float | None]:
    """Both ends of the interval, or none."""
    low, high = measured.interval.low, measured.interval.high
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _known(value: float | None) -> float | None:
    """A number, or None where it isn't one."""
    return None if value is None or not math.isfinite(value) else float(value)
