"""Shares in one behaviour: each with its interval and place, and how they add up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whence.credit.credit import LEVEL, Credit, Explained
from whence.report.credit.words import Measure, Verdict
from whence.report.scores.bars import Scale

#: Ends of an interval, as quantiles.
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Share:
    """The share of a contributor.

    Attributes:
        unit: Whose.
        examples: How many training examples the contributor has.
        value: The estimate.
        interval: Ends of its 95% interval; None where none is known.
        place: Place among all contributors, 1 for the largest share.
        places: Ends of the 95% interval of the place; None where none is known.
    """

    unit: str
    examples: int
    value: float
    interval: tuple[float, float] | None
    place: int
    places: tuple[int, int] | None

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if self.interval is None:
            return "unknown"
        low, high = self.interval
        return "above" if low > 0 else "below" if high < 0 else "nothing"


@dataclass(frozen=True, eq=False)
class Shared:
    """All shares in one behaviour by one estimator.

    Attributes:
        explained: The behaviour.
        efficient: Whether the shares add up by construction.
        shares: One for each contributor, from the largest.
        remainder: v(all) - v(none) - Σ shares; NaN where it was not measured.
        remainder_interval: Ends of its 95% interval, with v(all) and v(none) as measured; None where none is known,
            or the shares add up by construction.
        measure: How the numbers are written.
    """

    explained: Explained
    efficient: bool
    shares: tuple[Share, ...]
    remainder: float
    remainder_interval: tuple[float, float] | None
    measure: Measure

    @classmethod
    def of(cls, credit: Credit, behaviour: str) -> Shared:
        """Return the shares in a behaviour of that name."""
        b = credit.index_of(behaviour)
        explained, values = credit.explained[b], credit.shares[b]
        resampled = None if credit.replicates is None else credit.replicates[:, b].astype(np.float64)
        order, places = np.argsort(-values, kind="stable"), _places(values[None])[0]
        ends = None if resampled is None else np.quantile(resampled, ENDS, axis=0)
        between = None if resampled is None else _ends_of_places(_places(resampled))
        shares = tuple(
            Share(
                credit.units[u],
                len(credit.examples[u]),
                float(values[u]),
                None if ends is None else (float(ends[0, u]), float(ends[1, u])),
                int(places[u]),
                None if between is None else (int(between[0, u]), int(between[1, u])),
            )
            for u in order
        )
        whole = explained.all - explained.none
        left = None
        if resampled is not None and not credit.efficient and math.isfinite(whole):
            low, high = np.quantile(whole - resampled.sum(1), ENDS).tolist()
            left = (low, high)
        remainder = float(credit.remainder[b])
        return cls(explained, credit.efficient, shares, remainder, left, _measure(explained, shares))

    @property
    def scale(self) -> Scale:
        """Where shares stand on a line."""
        return self.measure.scale

    @property
    def verdicts(self) -> list[Verdict]:
        """What the intervals say."""
        return [one.verdict for one in self.shares]

    def of_unit(self, unit: str) -> Share:
        """Return the share of a contributor."""
        return next(one for one in self.shares if one.unit == unit)


def _places(values: np.ndarray) -> np.ndarray:
    """Places [R, U] of values [R, U]: 1 + how many in the row are larger."""
    ascending = np.sort(values, axis=1)
    return np.stack(
        [1 + values.shape[1] - np.searchsorted(row, own, "right") for row, own in zip(ascending, values, strict=True)]
    )


def _ends_of_places(places: np.ndarray) -> np.ndarray:
    """Whole places between which 95% of them are."""
    low, high = np.quantile(places, ENDS, axis=0)
    return np.stack([np.floor(low), np.ceil(high)])


def _measure(explained: Explained, shares: tuple[Share, ...]) -> Measure:
    """Percentages only where there is a whole that no share, nor an end of its interval, is more than."""
    values = [one.value for one in shares]
    ends = [end for one in shares if one.interval is not None for end in one.interval]
    whole = explained.all - explained.none
    fits = math.isfinite(whole) and whole > 0 and max(map(abs, [*values, *ends])) <= whole
    return Measure(Scale.of([*values, *ends]), explained.unit, whole if fits else None)
