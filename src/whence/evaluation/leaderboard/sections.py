"""What was measured for the leaderboard: a JSON file for each section of the page.

WORK/lds.json
    {"section": "lds", "seconds": 12.5, "notes": ["A plain sentence."],
     "rows": {METHOD: {COLUMN: {"value": 0.4, "low": 0.3, "high": 0.5, "chance": 0.0, "ceiling": 0.9}}},
     "curves": {NAME: {SERIES: [[x, value, low, high], ...]}}}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from whence import artefacts
from whence.errors import ArtefactError

#: The sections, in the order of the page.
SECTIONS = (
    "lds",
    "choices",
    "draws",
    "deterministic",
    "deletion",
    "measures",
    "calibration",
    "ensemble",
    "runtime",
    "ablation",
)

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class Figure(BaseModel):
    """A measured number.

    Attributes:
        value: The number.
        low: Lower end of its 95% interval; None where it has none.
        high: Upper end.
        chance: What a random order gives; None where that says nothing.
        ceiling: The most that it can be; None where that isn't known.
    """

    model_config = ConfigDict(frozen=True)

    value: Number
    low: Number | None = None
    high: Number | None = None
    chance: Number | None = None
    ceiling: Number | None = None

    @model_validator(mode="after")
    def _ends(self) -> Self:
        """Check that an interval has two ends in order."""
        _check_interval(self.low, self.high)
        return self


class Point(NamedTuple):
    """A measured number on a curve: its place, the number, and both ends of its interval, or None."""

    x: Number
    value: Number
    low: Number | None
    high: Number | None


class Section(BaseModel):
    """What was measured for one section of the page.

    Attributes:
        section: Its name, one of `SECTIONS`.
        seconds: How long measuring took; None where that isn't known.
        rows: By method and column.
        notes: Plain sentences about how it was measured.
        curves: By name of the curve and series.
    """

    model_config = ConfigDict(frozen=True)

    section: str
    seconds: Number | None = None
    rows: dict[str, dict[str, Figure]] = {}
    notes: list[str] = []
    curves: dict[str, dict[str, list[Point]]] = {}

    @model_validator(mode="after")
    def _curves(self) -> Self:
        """Check the intervals of all points."""
        for series in self.curves.values():
            for points in series.values():
                for point in points:
                    _check_interval(point.low, point.high)
        return self

    def column(self, name: str) -> dict[str, Figure]:
        """Return the figures of a column by method, in the order of the rows, without methods that have none.

        Example:
            >>> section = Section(section="lds", rows={"trak": {"drawn": Figure(value=0.4)}, "das": {}})
            >>> {method: figure.value for method, figure in section.column("drawn").items()}
            {'trak': 0.4}
        """
        return {method: figures[name] for method, figures in self.rows.items() if name in figures}

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order in which they first come."""
        return list(dict.fromkeys(name for figures in self.rows.values() for name in figures))


def read_sections(work: Path) -> dict[str, Section]:
    """Return what was measured, by section, in the order of the page.

    Args:
        work: Folder of the sections; one that is not there is left out.

    Raises:
        ArtefactError: No section is there, or a file is damaged, of another section, or holds a number that is not
            finite.
    """
    found = {name: _read(work / f"{name}.json", name) for name in SECTIONS if (work / f"{name}.json").exists()}
    if not found:
        raise ArtefactError(
            f"Nothing was measured in {work}: none of {', '.join(SECTIONS)} (.json) is there. `whence leaderboard` "
            "measures them."
        )
    return found


def _read(path: Path, name: str) -> Section:
    """Return one section.

    Raises:
        ArtefactError: The file is damaged or of another section.
    """
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


def _check_interval(low: float | None, high: float | None) -> None:
    """Check an interval.

    Raises:
        ValueError: It has one end only, or its ends are in the wrong order.
    """
    if (low is None) != (high is None):
        raise ValueError("an interval has two ends, or none")
    if low is not None and high is not None and low > high:
        raise ValueError("the lower end of an interval is above its upper end")
