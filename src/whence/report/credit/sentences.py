"""Sentences about shares and estimators. No sentence says more than was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whence.credit.estimators import estimator_facts
from whence.data import NO_UNIT
from whence.report.credit.share import LABELS, BehaviourShares, Share, Verdict
from whence.report.text import ordinal, plural


@dataclass(frozen=True)
class Finding:
    """A share in words."""

    label: str  # what its interval says, in a few words
    verdict: str  # the same, as a name
    number: str  # the share: a percentage where that doesn't mislead
    of: str  # what the number is a part of
    certainty: str  # how sure the share is
    standing: str  # the place among all contributors
    brief: str  # share and certainty in one sentence


@dataclass(frozen=True)
class AccountLine:
    """A line of an account."""

    title: str  # what it is
    number: str  # how much
    note: str = ""  # what it means; may be empty
    style: str = ""  # class of the line: `own`, `rest`, `total` or empty


def contributor_name(unit: str) -> str:
    """Return the name of a contributor on a page."""
    return "Pictures without a contributor" if unit == NO_UNIT else unit


def share_phrase(estimator: str) -> str:
    """Return what the shares of an estimator are, to follow "A share is"; empty where that is not known."""
    facts = estimator_facts(estimator)
    return facts.meaning if facts is not None else ""


def estimator_title(estimator: str) -> str:
    """Return the name of an estimator as a heading: ``Leave one out``."""
    if estimator.startswith("sum-"):
        return f"Sum of scores: {estimator.removeprefix('sum-')}"
    return estimator.replace("-", " ").capitalize()


def finding(behaviour: BehaviourShares, share: Share) -> Finding:
    """Return a share in words."""
    written, percent = behaviour.format, behaviour.format.percent(share.value)
    whole = behaviour.explained.all - behaviour.explained.none
    parts = f"{written.signed(share.value)} of {written.amount(whole)}"
    return Finding(
        label=LABELS[share.verdict],
        verdict=share.verdict,
        number=percent or written.amount(share.value),
        of=f"of the difference that all contributors make: {parts}" if percent else "",
        certainty=_certainty(behaviour, share),
        standing=_standing(len(behaviour.shares), share),
        brief=_brief(behaviour, share),
    )


def account(behaviour: BehaviourShares, unit: str | None = None) -> list[AccountLine]:
    """How the whole adds up, from the model of nobody to that of everybody; `unit` has a line of its own."""
    written, explained = behaviour.format, behaviour.explained
    total = sum(share.value for share in behaviour.shares)
    note = "What is there without any contributor; owed to nobody." if math.isfinite(explained.none) else ""
    lines = [AccountLine("Without anybody’s pictures", _value(behaviour, explained.none), note)]
    if unit is not None:
        value = behaviour.of_unit(unit).value
        others = plural(len(behaviour.shares) - 1, "other contributor")
        lines.append(AccountLine(contributor_name(unit), written.signed(value), style="own"))
        lines.append(AccountLine(f"The {others} together", written.signed(total - value)))
    else:
        lines.append(AccountLine(f"The {len(behaviour.shares)} contributors together", written.signed(total)))
    remainder = written.signed(behaviour.remainder) if math.isfinite(behaviour.remainder) else "not known"
    lines.append(AccountLine("Owed to nobody in particular", remainder, _remainder_note(behaviour), "rest"))
    return [*lines, AccountLine("With everybody’s pictures", _value(behaviour, explained.all), style="total")]


def tally(verdicts: Sequence[Verdict]) -> str:
    """Return how many shares are above zero, below it, or could as well be nothing, in words."""
    if "unknown" in verdicts:
        return "No intervals known"
    words = {"above": "above zero", "below": "below", "nothing": "could as well be nothing"}
    return ", ".join(f"{verdicts.count(name)} {text}" for name, text in words.items() if name in verdicts)


def _value(behaviour: BehaviourShares, value: float) -> str:
    return behaviour.format.scale.number(value) if math.isfinite(value) else "not measured"


def _remainder_note(behaviour: BehaviourShares) -> str:
    if not math.isfinite(behaviour.remainder):
        return "The two ends were not both measured, so what the shares leave over is not known."
    if behaviour.efficient:
        return "This way of counting hands out the whole change, so that nothing is left over."
    less = "less" if behaviour.remainder > 0 else "more"
    interval = behaviour.remainder_interval
    likely = "" if interval is None else f" Likely {behaviour.format.interval(*interval)}."
    return (
        f"The shares together are {less} than the whole: contributors need one another, can replace one another "
        f"or have pictures in common. Nobody is credited with the difference, and no share was rescaled.{likely}"
    )


def _range(behaviour: BehaviourShares, low: float, high: float) -> str:
    written = behaviour.format
    if written.percent(low):
        return f"from {written.percent(low)} to {written.percent(high)}"
    return written.interval(low, high)


def _brief(behaviour: BehaviourShares, share: Share) -> str:
    percent, amount = behaviour.format.percent(share.value), behaviour.format.amount(share.value)
    number = f"{percent} of the difference that all contributors make" if percent else amount
    if share.interval is None:
        return f"about {number}; how sure that is, is not known."
    endings = {"nothing": "; it could as well be nothing", "below": "; with these pictures the number is lower"}
    return f"about {number}, likely {_range(behaviour, *share.interval)}{endings.get(share.verdict, '')}."


def _certainty(behaviour: BehaviourShares, share: Share) -> str:
    if share.interval is None:
        return "How sure this is, is not known."
    likely = f"Likely {_range(behaviour, *share.interval)}."
    if share.verdict == "nothing":
        return f"{likely} Zero lies in this range: the share could as well be nothing."
    side, lower = ("below", "lower") if share.verdict == "below" else ("above", "higher")
    return f"{likely} All of this range is {side} zero: with these pictures the number is {lower}."


def _standing(count: int, share: Share) -> str:
    standing = f"{ordinal(share.place)} of {count:,} contributors"
    if share.places is None:
        return f"{standing}."
    first, last = share.places
    if first == last:
        return f"{standing}; if this were measured again, the place would hardly change."
    return f"{standing}; if this were measured again, likely from the {ordinal(first)} to the {ordinal(last)} place."
