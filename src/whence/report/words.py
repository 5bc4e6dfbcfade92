"""What the report says about an ablation, chosen by its two distances.

One placebo is one comparison. It can show that a change is no larger than what fewer members make of
the picture anyway; that a change is due to the unit it can't show. No sentence here says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: A counterfactual this many times as far away as its placebo is called a hint.
HINT = 1.5
#: Distances within this factor are called the same.
SAME = 1.1


@dataclass(frozen=True)
class Comparison:
    """An ablation in figures.

    Attributes:
        units: The units that were removed, or with `keep_only` required.
        keep_only: Whether the members that saw the units drew the picture.
        distance: Distance from the picture to the counterfactual.
        placebo: Distance from the picture to the placebo; None where no placebo could be drawn.

    Example:
        >>> Comparison(("17",), False, 2.31, 2.05).label
        'No clear difference from the placebo'
    """

    units: tuple[str, ...]
    keep_only: bool
    distance: float
    placebo: float | None

    @property
    def is_hint(self) -> bool:
        """Whether the counterfactual lies clearly farther away than the placebo."""
        return self.placebo is not None and self.distance > 0 and self.distance >= HINT * self.placebo

    @property
    def title(self) -> str:
        """What was done: "Without unit 17"."""
        return f"Only members that saw {named(self.units)}" if self.keep_only else f"Without {named(self.units)}"

    @property
    def label(self) -> str:
        """The outcome in a few words."""
        if self.placebo is None:
            return "No placebo to compare with"
        if self.is_hint:
            return "Farther than the placebo: a hint"
        if self.distance * SAME < self.placebo:
            return "Less far than the placebo"
        return "No clear difference from the placebo"

    @property
    def sentence(self) -> str:
        """What was done, what the placebo did, and what that means."""
        if self.placebo is None:
            return f"{self._change} {self._no_placebo}"
        return f"{self._change} {self._placebo_change(self.placebo)}{self._meaning(self.placebo)}"

    @property
    def _change(self) -> str:
        change = f"moves by {number(self.distance)}" if self.distance else "does not change at all"
        if self.keep_only:
            return f"Drawn only by the members that saw {named(self.units)}, the picture {change}."
        return f"Without {named(self.units)} the picture {change}."

    @property
    def _no_placebo(self) -> str:
        return (
            "No placebo could be drawn: no code word was found that leaves as many members and belongs to no unit. "
            f"So the part of {named(self.units)} can't be told from that of averaging fewer members."
        )

    def _placebo_change(self, placebo: float) -> str:
        nobody = "a code word that belongs" if len(self.units) == 1 else "code words that belong"
        if self.keep_only:
            verb = f"move it by {number(placebo)}" if placebo else "do not change it"
            return f"As many members, chosen by {nobody} to nobody, {verb}"
        verb = f"moves it by {number(placebo)}" if placebo else "does not change it"
        return f"Leaving out as many members for {nobody} to nobody {verb}"

    def _meaning(self, placebo: float) -> str:
        hint = "One placebo can't tell influence from luck: this is a hint, not a finding."
        nothing = f"this single comparison gives no reason to credit {named(self.units)}."
        if self.is_hint:
            if not placebo:
                return f". {hint}"
            return f", so the picture went {self.distance / placebo:.1f} times as far as the placebo. {hint}"
        if not self.distance:
            return f", and {nothing}" if placebo else f" either, and {nothing}"
        if self.distance > SAME * placebo:
            return f", so most of this change can come from averaging fewer members, and {nothing}"
        extent = "farther" if self.distance * SAME < placebo else "about as far"
        return f", so averaging fewer members alone takes it {extent}, and {nothing}"


def named(units: Sequence[str]) -> str:
    """Return units as they stand in a sentence.

    Example:
        >>> named(["17"]), named(["17", "230"]), named(["a", "b", "c", "d"])
        ('unit 17', 'units 17 and 230', 'these 4 units')
    """
    if len(units) > 3:
        return f"these {len(units)} units"
    if len(units) == 1:
        return f"unit {units[0]}"
    return f"units {', '.join(units[:-1])} and {units[-1]}"


def listed(units: Sequence[str], most: int = 20) -> str:
    """Return units by name, as many as can be read.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    more = f" and {len(units) - most:,} more" if len(units) > most else ""
    return ", ".join(units[:most]) + more


def number(distance: float) -> str:
    """Return a distance with as many digits as can be read at a glance.

    Example:
        >>> number(2.3149), number(0.14716), number(0.0002), number(0.0)
        ('2.31', '0.147', 'less than 0.001', '0')
    """
    if distance == 0:
        return "0"
    if distance < 0.001:
        return "less than 0.001"
    return f"{distance:.2f}" if distance >= 1 else f"{distance:.3f}"


def counted(count: int, noun: str) -> str:
    """Return a number of things.

    Example:
        >>> counted(1, "unit"), counted(1500, "unit")
        ('1 unit', '1,500 units')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
