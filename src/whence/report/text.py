"""Numbers, units and names as they stand in the sentences of a page."""

from __future__ import annotations

from collections.abc import Sequence

from whence.statistics.statistic import Statistic


def unit_phrase(units: Sequence[str]) -> str:
    """Return units as a sentence names them: ``units 17 and 230``, or ``these 4 units``."""
    if len(units) > 3:
        return f"these {len(units)} units"
    if len(units) == 1:
        return f"unit {units[0]}"
    return f"units {', '.join(units[:-1])} and {units[-1]}"


def number(distance: float) -> str:
    """Return a distance with as many digits as can be read at a glance: ``2.31``, or ``0.147``."""
    if distance == 0:
        return "0"
    if distance < 0.001:
        return "less than 0.001"
    return f"{distance:.2f}" if distance >= 1 else f"{distance:.3f}"


def round_number(count: float) -> str:
    """Return a round number that needs little room: ``1,000``, ``15k`` or ``1.5M``."""
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:g}k" if count < 1_000_000 else f"{count / 1e6:g}M"


def percent(share: float) -> str:
    """Return a share as it can be read at a glance: ``21%``, or ``0.4%``."""
    if share and share < 0.001:
        return "less than 0.1%"
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def probably(share: Statistic) -> str:
    """Return the 95% interval of a share in words.

    Example:
        >>> import numpy as np
        >>> from whence.statistics.statistic import share
        >>> probably(share(np.arange(100) < 5)), probably(share(np.zeros(16, bool)))
        ('probably between 1.6% and 11%', 'probably less than 21%')
    """
    low, high = share.interval.low, share.interval.high
    if low < 0.001:
        return f"probably less than {percent(high)}"
    return (
        f"probably more than {percent(low)}"
        if high > 0.9995
        else f"probably between {percent(low)} and {percent(high)}"
    )


def are(count: int) -> str:
    """Return the verb of a count: ``is`` of one, else ``are``."""
    return "is" if count == 1 else "are"


def ordinal(place: int) -> str:
    """Return a place in a ranking: ``1st``, or ``12th``."""
    ending = "th" if place // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place:,}{ending}"


def plural(count: int, noun: str) -> str:
    """Return a count and its noun: ``1 unit``, or ``1,500 units``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shorten(text: str, longest: int = 48) -> str:
    """Return the text, cut at `longest` characters."""
    return text if len(text) <= longest else text[:longest].rstrip() + "…"
