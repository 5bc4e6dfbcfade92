"""What a statement says of a share: no sentence says more than was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from whence.data import NO_UNIT
from whence.report.credit.figures import Share, Shared
from whence.report.credit.words import LABELS, ordinal
from whence.report.words import counted


@dataclass(frozen=True)
class Finding:
    """A share in words.

    Attributes:
        label: What its interval says, in a few words.
        verdict: The same, as a name.
        number: The share: a percentage where that doesn't mislead.
        of: What the number is of.
        sure: How sure that is.
        standing: The place among all contributors.
        brief: All of it in one sentence.
    """

    label: str
    verdict: str
    number: str
    of: str
    sure: str
    standing: str
    brief: str


@dataclass(frozen=True)
class Line:
    """A line of an account.

    Attributes:
        title: What it is.
        number: How much.
        note: What it means; may be empty.
        style: Class of the line: `own`, `rest`, `total` or empty.
    """

    title: str
    number: str
    note: str = ""
    style: str = ""


def called(unit: str) -> str:
    """Return a contributor's name as it stands on a page."""
    return "Pictures without a contributor" if unit == NO_UNIT else unit


def finding(shared: Shared, share: Share) -> Finding:
    """Return a share in words."""
    measure, percent = shared.measure, shared.measure.percent(share.value)
    whole = shared.explained.all - shared.explained.none
    return Finding(
        label=LABELS[share.verdict],
        verdict=share.verdict,
        number=percent or measure.amount(share.value),
        of=f"of the difference that all contributors make: {measure.signed(share.value)} of {measure.amount(whole)}"
        if percent
        else "",
        sure=_sure(shared, share),
        standing=_standing(len(shared.shares), share),
        brief=_brief(shared, share),
    )


def account(shared: Shared, unit: str | None = None) -> list[Line]:
    """Return how the whole adds up: without anybody, shares, what is owed to nobody, with everybody.

    Args:
        shared: The shares.
        unit: A contributor with a line of its own; the others are one line together.

    Returns:
        The lines, from the model of nobody to the model of everybody.
    """
    measure, explained = shared.measure, shared.explained
    total = sum(one.value for one in shared.shares)
    lines = [Line("Without anybody’s pictures", _value(shared, explained.none), _start(explained.none))]
    if unit is not None:
        own = shared.of_unit(unit).value
        others = counted(len(shared.shares) - 1, "other contributor")
        lines.append(Line(called(unit), measure.signed(own), style="own"))
        lines.append(Line(f"The {others} together", measure.signed(total - own)))
    else:
        lines.append(Line(f"The {len(shared.shares)} contributors together", measure.signed(total)))
    lines.append(Line("Owed to nobody in particular", _rest(shared), _remainder(shared), "rest"))
    return [*lines, Line("With everybody’s pictures", _value(shared, explained.all), style="total")]


def _value(shared: Shared, value: float) -> str:
    return shared.measure.number(value) if math.isfinite(value) else "not measured"


def _start(none: float) -> str:
    return "What is there without any contributor; owed to nobody." if math.isfinite(none) else ""


def _rest(shared: Shared) -> str:
    return shared.measure.signed(shared.remainder) if math.isfinite(shared.remainder) else "not known"


def _remainder(shared: Shared) -> str:
    if not math.isfinite(shared.remainder):
        return "The two ends were not both measured, so what the shares leave over is not known."
    if shared.efficient:
        return "This way of counting hands out the whole change, so that nothing is left over."
    less = "less" if shared.remainder > 0 else "more"
    between = ""
    if shared.remainder_interval is not None:
        between = f" Likely {shared.measure.interval(*shared.remainder_interval)}."
    return (
        f"The shares together are {less} than the whole: contributors need one another, stand in for one another "
        f"or have pictures in common. Nobody is credited with the difference, and no share was rescaled.{between}"
    )


def _between(shared: Shared, low: float, high: float) -> str:
    measure = shared.measure
    if measure.percent(low):
        return f"from {measure.percent(low)} to {measure.percent(high)}"
    return measure.interval(low, high)


def _brief(shared: Shared, share: Share) -> str:
    measure, percent = shared.measure, shared.measure.percent(share.value)
    number = f"{percent} of the difference that all contributors make" if percent else measure.amount(share.value)
    if share.interval is None:
        return f"about {number}; how sure that is, is not known."
    endings = {"nothing": "; it could as well be nothing", "below": "; with these pictures the number is lower"}
    return f"about {number}, likely {_between(shared, *share.interval)}{endings.get(share.verdict, '')}."


def _sure(shared: Shared, share: Share) -> str:
    if share.interval is None:
        return "How sure this is, is not known."
    between = _between(shared, *share.interval)
    if share.verdict == "nothing":
        return f"Likely {between}. Zero lies in this range: the share could as well be nothing."
    side, lower = ("below", "lower") if share.verdict == "below" else ("above", "higher")
    return f"Likely {between}. All of this range is {side} zero: with these pictures the number is {lower}."


def _standing(count: int, share: Share) -> str:
    standing = f"{ordinal(share.place)} of {count:,} contributors"
    if share.places is None:
        return f"{standing}."
    first, last = share.places
    if first == last:
        return f"{standing}; measured anew, this place would hardly change."
    return f"{standing}; measured anew, likely anywhere from the {ordinal(first)} to the {ordinal(last)} place."
