"""Small bars with intervals, and the scale that all bars of a table share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Scale:
    """How values that are compared with each other are written and drawn.

    Attributes:
        low: Smallest value that has a place; 0 at most.
        high: Largest value that has a place; 0 at least.
        power: Numbers are written in units of 10 to this power.
        decimals: Digits after the point.

    Example:
        >>> scale = Scale.of([3.2e-7, -1.5e-7])
        >>> scale.power, scale.number(3.2e-7), scale.number(-1.5e-7)
        (-7, '3.20', '−1.50')
    """

    low: float
    high: float
    power: int
    decimals: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """A scale for values and the ends of their intervals: three digits for the largest of them."""
        values = [0.0, *values]
        largest = max(map(abs, values))
        order = math.floor(math.log10(largest)) if largest else 0
        power = 0 if -3 <= order <= 3 else order
        return cls(min(values), max(values), power, max(0, 2 - (order - power)))

    def number(self, value: float) -> str:
        """The value in units of the power."""
        text = f"{value * 10.0**-self.power:,.{self.decimals}f}"
        return (text if float(text.replace(",", "")) else text.removeprefix("-")).replace("-", "−")

    def place(self, value: float) -> float:
        """The place of a value, in percent of the width."""
        width = self.high - self.low
        return 100 * (value - self.low) / width if width else 0.0


def interval_bar(
    scale: Scale, value: float, interval: tuple[float, float] | None, style: str = "", label: str = ""
) -> Markup:
    """An SVG bar from 0 to a value. Styles: `within`, an outline; `untested`, grey. The label says it in words."""
    zero, end = scale.place(0.0), scale.place(value)
    side = " ".join(filter(None, ("opponent" if value < 0 else "proponent", style)))
    parts = [
        Markup('<rect class="{}" x="{:.2f}%" y="4" width="{:.2f}%" height="8"/>').format(
            side, min(zero, end), abs(end - zero)
        ),
        Markup('<line class="zero" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="16"/>').format(zero),
    ]
    if interval is not None:
        low, high = map(scale.place, interval)
        parts.append(Markup('<line class="error" x1="{:.2f}%" x2="{:.2f}%" y1="8" y2="8"/>').format(low, high))
        cap = Markup('<line class="error" x1="{0:.2f}%" x2="{0:.2f}%" y1="5" y2="11"/>')
        parts += [cap.format(low), cap.format(high)]
    attributes = Markup(' role="img" aria-label="{}"').format(label) if label else Markup(' aria-hidden="true"')
    return Markup('<svg class="score"{}>{}</svg>').format(attributes, Markup("").join(parts))
