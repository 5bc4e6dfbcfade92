"""The shares of contributors in one behaviour, with intervals and places, and how their numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from whence.credit.credit import LEVEL, Credit, Explained
from whence.report.plot import Scale

#: Ends of an interval, as quantiles.
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
#: What an interval says of a share: all of it is above zero, all of it below, zero is inside, or there is no interval.
Verdict = Literal["above", "below", "nothing", "unknown"]
#: The same in a few words.
LABELS: dict[Verdict, str] = {
    "above": "Above zero",
    "below": "Below zero",
    "nothing": "Could as well be nothing",
    "unknown": "Uncertainty not known",
}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class ShareFormat:
    """How the numbers of one behaviour are written."""

    scale: Scale  # digits and places
    unit: str  # the unit of measurement
    whole: float | None  # v(all) - v(none), for percentages; None where percentages would mislead

    def signed(self, value: float) -> str:
        """A share, with its sign and without its unit."""
        text = self.scale.number(value)
        return text if text.startswith("−") or not any(digit in text for digit in "123456789") else f"+{text}"

    @property
    def units(self) -> str:
        """The unit of all numbers, with a power of ten."""
        power = f"× 10{str(self.scale.power).translate(_RAISED)} " if self.scale.power else ""
        return f"{power}{self.unit}".strip()

    def amount(self, value: float) -> str:
        """A share, with its unit."""
        return f"{self.signed(value)} {self.units}".strip()

    def interval(self, low: float, high: float) -> str:
        """From one share to another, with their unit."""
        return f"from {self.signed(low)} to {self.amount(high)}"

    def percent(self, value: float) -> str:
        """A share as a percentage of the whole; empty where percentages would mislead."""
        if not self.whole:
            return ""
        part = 100 * value / self.whole
        text = f"{part:.0f}" if abs(part) >= 9.95 else f"{part:.1f}"
        return f"{text.removeprefix('-') if not float(text) else text}%".replace("-", "−")


@dataclass(frozen=True)
class Share:
    """The share of a contributor."""

    unit: str  # the contributor
    examples: int  # how many training examples the contributor has
    value: float  # the estimate
    interval: tuple[float, float] | None  # ends of its 95% interval; None where none is known
    place: int  # place among all contributors, 1 for the largest share
    places: tuple[int, int] | None  # ends of the 95% interval of the place; None where none is known

    @property
    def verdict(self) -> Verdict:
        """What the interval says of the share."""
        if self.interval is None:
            return "unknown"
        low, high = self.interval
        return "above" if low > 0 else "below" if high < 0 else "nothing"


@dataclass(frozen=True, eq=False)
class BehaviourShares:
    """All shares in one behaviour by one estimator."""

    explained: Explained  # the behaviour
    efficient: bool  # whether the shares add up by construction
    shares: tuple[Share, ...]  # one for each contributor, from the largest
    remainder: float  # v(all) - v(none) - Σ shares; NaN where it was not measured
    # ends of its 95% interval, with v(all) and v(none) as measured; None where none is known, or `efficient`
    remainder_interval: tuple[float, float] | None
    format: ShareFormat  # how the numbers are written

    @classmethod
    def of(cls, credit: Credit, behaviour: str) -> BehaviourShares:
        """Return the shares in a behaviour of that name."""
        b = credit.index_of(behaviour)
        explained, values = credit.explained[b], credit.shares[b]
        resampled = None if credit.replicates is None else credit.replicates[:, b].astype(np.float64)
        order, places = np.argsort(-values, kind="stable"), _places(values[None])[0]
        ends = None if resampled is None else np.quantile(resampled, ENDS, axis=0)
        place_ends = None if resampled is None else _place_ends(_places(resampled))
        shares = tuple(
            Share(
                credit.units[u],
                len(credit.examples[u]),
                float(values[u]),
                None if ends is None else (float(ends[0, u]), float(ends[1, u])),
                int(places[u]),
                None if place_ends is None else (int(place_ends[0, u]), int(place_ends[1, u])),
            )
            for u in order
        )
        whole = explained.all - explained.none
        remainder_interval = None
        if resampled is not None and not credit.efficient and math.isfinite(whole):
            low, high = np.quantile(whole - resampled.sum(1), ENDS).tolist()
            remainder_interval = (low, high)
        remainder, written = float(credit.remainder[b]), _share_format(explained, shares)
        return cls(explained, credit.efficient, shares, remainder, remainder_interval, written)

    def of_unit(self, unit: str) -> Share:
        """Return the share of a contributor."""
        return next(share for share in self.shares if share.unit == unit)


def _places(values: np.ndarray) -> np.ndarray:
    """Places [R, U] of values [R, U]: 1 + how many in the row are larger."""
    rows = zip(np.sort(values, axis=1), values, strict=True)
    return np.stack([1 + values.shape[1] - np.searchsorted(ascending, row, "right") for ascending, row in rows])


def _place_ends(places: np.ndarray) -> np.ndarray:
    """Whole places between which 95% of them are."""
    low, high = np.quantile(places, ENDS, axis=0)
    return np.stack([np.floor(low), np.ceil(high)])


def _share_format(explained: Explained, shares: tuple[Share, ...]) -> ShareFormat:
    """Percentages only where there is a whole, and no share and no end of an interval is larger than it."""
    values = [share.value for share in shares]
    ends = [end for share in shares if share.interval is not None for end in share.interval]
    whole = explained.all - explained.none
    fits = math.isfinite(whole) and whole > 0 and max(map(abs, [*values, *ends])) <= whole
    return ShareFormat(Scale.of([*values, *ends]), explained.unit, whole if fits else None)
