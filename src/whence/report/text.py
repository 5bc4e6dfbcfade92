"""Numbers, units and names as they stand in the sentences of a page."""

from __future__ import annotations

from collections.abc import Sequence


def unit_phrase(units: Sequence[str]) -> str:
    """Return units as a sentence names them.

    Example:
        >>> unit_phrase(["17"]), unit_phrase(["17", "230"]), unit_phrase(["a", "b", "c", "d"])
        ('unit 17', 'units 17 and 230', 'these 4 units')
    """
    if len(units) > 3:
        return f"these {len(units)} units"
    if len(units) == 1:
        return f"unit {units[0]}"
    return f"units {', '.join(units[:-1])} and {units[-1]}"


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


def round_number(count: float) -> str:
    """Return a round number that needs little room.

    Example:
        >>> round_number(1000), round_number(15_000), round_number(1_500_000)
        ('1,000', '15k', '1.5M')
    """
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:g}k" if count < 1_000_000 else f"{count / 1e6:g}M"


def percent(share: float) -> str:
    """Return a share as it can be read at a glance.

    Example:
        >>> percent(0.213), percent(0.0042), percent(0.00001)
        ('21%', '0.4%', 'less than 0.1%')
    """
    if share and share < 0.001:
        return "less than 0.1%"
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def ordinal(place: int) -> str:
    """Return a place in a ranking.

    Example:
        >>> ordinal(1), ordinal(12), ordinal(23)
        ('1st', '12th', '23rd')
    """
    ending = "th" if place // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place:,}{ending}"


def plural(count: int, noun: str) -> str:
    """Return a count and its noun.

    Example:
        >>> plural(1, "unit"), plural(1500, "unit")
        ('1 unit', '1,500 units')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shorten(text: str, longest: int = 48) -> str:
    """Return the text, cut at `longest` characters.

    Example:
        >>> shorten("a cat", 3)
        'a c…'
    """
    return text if len(text) <= longest else text[:longest].rstrip() + "…"
