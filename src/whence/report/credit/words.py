"""Credit in plain words: what estimators ask, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whence.report.scores.bars import Scale

#: What an interval says of a share: all of it above zero, all below, zero inside; or there is none.
Verdict = Literal["above", "below", "nothing", "unknown"]

#: What the shares of an estimator are, in a sentence that goes on from "A share is". Those to show first come first.
ESTIMATORS = {
    "shapley": "the average difference that a contributor makes when contributors join one after another, over all "
    "orders in which they could join (Shapley value)",
    "owen": "the average difference that a contributor makes when contributors join one after another, and those that "
    "belong together join together (Owen value)",
    "banzhaf": "the average difference that a contributor makes to a random half of the others (Banzhaf value)",
    "leave-one-out": "the difference that it makes to leave out this contributor alone and to keep all others",
    "add-one-in": "the difference between a model of this contributor alone and a model of nobody",
}
#: What behaviours mean, by the first word of their names.
MEANINGS = {
    "diversity": "How many different kinds of pictures the model makes, and how evenly. More is more varied.",
    "coverage": "How much of the variety of real pictures, which the model never saw, is found in what it makes.",
    "precision": "How many of the pictures that it makes look like real ones which it never saw.",
    "held-out-fit": "How well the model knows its way around real pictures that it never saw. Numbers are below zero: "
    "nearer to zero is better.",
    "class": "How many of the pictures that the model makes are of this class.",
    "classes": "How many of the pictures that the model makes are of each class.",
    "fit": "How familiar the model is with this picture, as it shows when it cleans it of noise. Numbers are below "
    "zero: nearer to zero is more familiar.",
    "distance": "How close the model comes to this picture when it draws again from the same noise. Numbers are below "
    "zero: nearer to zero is closer.",
    "ssim": "How much the model’s new drawing from the same noise is built like this picture.",
}
#: In a few words.
LABELS: dict[Verdict, str] = {
    "above": "Above zero",
    "below": "Below zero",
    "nothing": "Could as well be nothing",
    "unknown": "Uncertainty not known",
}


def meaning(behaviour: str) -> str:
    """Return what a behaviour means, by its name; empty where that is not known."""
    return MEANINGS.get(behaviour.split(" ")[0].split(":")[0], "")


def asks(estimator: str) -> str:
    """Return what the shares of an estimator are, to go on from "A share is"; empty where that is not known."""
    if estimator.startswith("sum-"):
        method = estimator.removeprefix("sum-")
        return f"the sum of what the method {method} estimates for each of a contributor’s training pictures"
    return ESTIMATORS.get(estimator, "")


def titled(estimator: str) -> str:
    """Return the name of an estimator as a heading.

    Example:
        >>> titled("leave-one-out"), titled("sum-d-trak")
        ('Leave one out', 'Sum of scores: d-trak')
    """
    if estimator.startswith("sum-"):
        return f"Sum of scores: {estimator.removeprefix('sum-')}"
    return estimator.replace("-", " ").capitalize()


@dataclass(frozen=True)
class Measure:
    """How the numbers of one behaviour are written.

    Attributes:
        scale: Digits and places.
        unit: What they are measured in.
        whole: v(all) - v(none), for percentages; None where percentages would mislead.

    Example:
        >>> measure = Measure(Scale.of([0.12, -0.04]), "bits", 1.4)
        >>> measure.amount(0.12), measure.interval(-0.04, 0.12), measure.percent(0.12)
        ('+0.120 bits', 'from −0.040 to +0.120 bits', '8.6%')
    """

    scale: Scale
    unit: str
    whole: float | None

    def number(self, value: float) -> str:
        """A value of the behaviour, without its unit."""
        return self.scale.number(value)

    def signed(self, value: float) -> str:
        """A share, with its sign and without its unit."""
        text = self.scale.number(value)
        return text if text.startswith("−") or not any(digit in text for digit in "123456789") else f"+{text}"

    @property
    def units(self) -> str:
        """What all numbers are in units of."""
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


def ordinal(place: int) -> str:
    """Return a place in a ranking.

    Example:
        >>> ordinal(1), ordinal(12), ordinal(23)
        ('1st', '12th', '23rd')
    """
    ending = "th" if place // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place:,}{ending}"


def tally(verdicts: Sequence[Verdict]) -> str:
    """Return how many shares are above zero, below it, or could as well be nothing.

    Example:
        >>> tally(["above", "nothing", "nothing", "below"])
        '1 above zero, 1 below, 2 could as well be nothing'
    """
    if "unknown" in verdicts:
        return "No intervals known"
    words = {"above": "above zero", "below": "below", "nothing": "could as well be nothing"}
    return ", ".join(f"{verdicts.count(name)} {text}" for name, text in words.items() if name in verdicts)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
