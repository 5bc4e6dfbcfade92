"""A reading of a picture: the effects of units or training images on it by one method, with how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from whence.report.plot import Scale, interval_bar
from whence.report.text import plural

#: What a row is: it stands out, it is within what chance or noise does, or that is not known.
Verdict = Literal["above", "within", "unknown"]
#: Styles of bars, see `interval_bar`.
STYLES: dict[Verdict, str] = {"above": "", "within": "within", "unknown": "untested"}


@dataclass(frozen=True)
class Row:
    """The effect of one unit or training image."""

    name: str  # the unit, or the id of the training image
    effect: float  # above 0: it pulled the model towards the picture; of distances: how far
    verdict: Verdict  # whether it stands out
    label: str  # the verdict in words
    interval: tuple[float, float] | None = None  # ends of its interval; None where none is known
    chance: float | None = None  # chance of an effect as large for a unit that doesn't matter
    corrected: float | None = None  # the same, corrected for the number of units


@dataclass(frozen=True)
class Reading:
    """All effects on one picture, from the largest."""

    key: str  # its name in addresses
    title: str  # the method in words
    meaning: str  # what an effect is, in one sentence
    answer: str  # who mattered, or that nobody in particular did
    of: Literal["unit", "image"]  # what a row is about
    effect: str  # the name of the effect, for the heading of a column
    rows: tuple[Row, ...]  # from the largest effect
    signed: bool = True  # whether an effect below 0 means the opposite
    band: tuple[float, float] | None = None  # the range of the middle 90% of placebos
    interval: str = ""  # what the intervals are; empty where there are none
    sides: tuple[str, str] = ("Pulled the model towards the picture", "Pushed the model away")  # above 0, and below

    @property
    def found(self) -> bool:
        """Whether any row stands out."""
        return any(row.verdict == "above" for row in self.rows)

    @property
    def label(self) -> str:
        """The outcome in a few words."""
        above = sum(row.verdict == "above" for row in self.rows)
        if above:
            return f"{plural(above, self.of)} stand{'s' * (above == 1)} out"
        return "Not known" if any(row.verdict == "unknown" for row in self.rows) else "Nobody in particular"

    def ends(self, first: int, last: int) -> tuple[Sequence[Row], Sequence[Row]]:
        """Return the rows to show: the largest effects, and of signed ones the smallest below 0, from the smallest."""
        top = [row for row in self.rows if row.effect > 0][:first] if self.signed else self.rows[:first]
        bottom = [row for row in reversed(self.rows) if row.effect < 0][:last] if self.signed else []
        return top, bottom

    def table(self) -> dict[str, list[Any]]:
        """All rows as columns."""
        return {
            "rank": list(range(1, len(self.rows) + 1)),
            self.of: [row.name for row in self.rows],
            "effect": [row.effect for row in self.rows],
            "low": [row.interval[0] if row.interval else None for row in self.rows],
            "high": [row.interval[1] if row.interval else None for row in self.rows],
            "chance": [row.chance for row in self.rows],
            "corrected_chance": [row.corrected for row in self.rows],
            "verdict": [row.label for row in self.rows],
        }


@dataclass(frozen=True)
class Bars:
    """How some rows are written and drawn: on one scale."""

    scale: Scale
    band: tuple[float, float] | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], band: tuple[float, float] | None = None) -> Bars:
        """The bars of rows."""
        ends = [end for row in rows for end in (row.interval or ())]
        return cls(Scale.of([*(row.effect for row in rows), *ends, *(band or ())]), band)

    @property
    def power(self) -> int:
        """Numbers are written in units of 10 to this power."""
        return self.scale.power

    def number(self, row: Row) -> str:
        """The effect of a row."""
        return self.scale.number(row.effect)

    def interval(self, row: Row) -> str:
        """The interval of a row; empty where there is none."""
        return " to ".join(map(self.scale.number, row.interval)) if row.interval else ""

    def bar(self, row: Row) -> Markup:
        """The bar of a row with its interval, before the range of the placebos."""
        return interval_bar(self.scale, row.effect, row.interval, STYLES[row.verdict], row.label, self.band)


@dataclass(frozen=True)
class Mention:
    """A picture that a unit or training image was measured for."""

    picture: str  # the picture
    reading: str  # key of the reading
    title: str  # the method in words
    row: Row  # its effect
    place: int  # its place among all, 1 for the largest effect
    count: int  # how many there are


def ranked(mentions: Sequence[Mention]) -> list[Mention]:
    """Return mentions with those that stand out first, then by place, then by picture."""
    return sorted(mentions, key=lambda one: (one.row.verdict != "above", one.place, one.picture, one.reading))
