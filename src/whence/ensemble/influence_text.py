"""Sentences about the influence of units, which claim no more than the figures show."""

from __future__ import annotations

from whence.ensemble.influence import Influence


def conclusion(influence: Influence, noun: str = "distance") -> str:
    """Return which units mattered, or that nobody in particular did, or that there are too few placebos to tell.

    Args:
        influence: Effects of units and of placebos.
        noun: The name of an effect, such as "distance".

    Example:
        >>> import torch
        >>> print(conclusion(Influence("0/0", ("a", "b"), torch.tensor([0.2, 0.1]), torch.arange(100) / 100)))
        Nobody in particular: none of 2 units rises above 100 placebos at a family-wise error of 5%. One distance of
        more than 0.98 would have been named; the largest is 0.2.
    """
    error = f"a family-wise error of {percent(influence.level)}"
    family, placebos = _count_units(len(influence.units)), f"{len(influence.placebos):,} placebos"
    if influence.influential:
        names = ", ".join(influence.influential[:5])
        more = len(influence.influential) - 5
        return f"Above {placebos} at {error}, of {family}: {names}{f' and {more} more' if more > 0 else ''}."
    if influence.threshold is None:
        return (
            f"Nobody can be named: among {family} at {error} it takes {influence.placebos_needed:,} placebos, and "
            f"there are {len(influence.placebos):,}."
        )
    return (
        f"Nobody in particular: none of {family} rises above {placebos} at {error}. One {noun} of more than "
        f"{influence.threshold:.3g} would have been named; the largest is {influence.radius:.3g}."
    )


def summary(influence: Influence) -> str:
    """Return how many units lie above most placebos, and whether the units as a whole do.

    Example:
        >>> import torch
        >>> both = torch.arange(100) / 100
        >>> print(summary(Influence("0/0", tuple(map(str, range(100))), both, both)))
        4 units lie above 95% of the placebos by themselves; 4.95 of 100 do by chance. As a whole they do not lie above
        them (p = .50).
    """
    count, by_chance = int((influence.p_values <= influence.level).sum()), influence.expected_by_chance
    verb, reflexive = ("lies", "itself") if count == 1 else ("lie", "themselves")
    whole = "lie above them" if influence.overall_p_value <= influence.level else "do not lie above them"
    return (
        f"{_count_units(count)} {verb} above {percent(1 - influence.level)} of the placebos by {reflexive}; "
        f"{by_chance:.3g} of {len(influence.units):,} do by chance. As a whole they {whole} "
        f"(p = {format_p_value(influence.overall_p_value)})."
    )


def percent(share: float) -> str:
    """Return a share as a percentage, with as many digits as it takes.

    Example:
        >>> percent(0.05), percent(0.001), percent(1 - 0.001)
        ('5%', '0.1%', '99.9%')
    """
    return f"{100 * share:.6g}%"


def format_p_value(p: float) -> str:
    """Return a p value in words.

    Example:
        >>> format_p_value(0.031), format_p_value(1e-9), format_p_value(1.0)
        ('.031', '1e-09', '1.0')
    """
    if p < 0.001:
        return f"{p:.0e}"
    return (f"{p:.3f}" if p < 0.1 else f"{p:.2f}").lstrip("0") if p < 1 else "1.0"


def independence_note(members: int) -> str:
    """Return the sentence which says how many independent numbers an ensemble gives on a picture.

    Example:
        >>> independence_note(16)
        '16 members give at most 136 independent numbers on a picture: units with similar words share their influence.'
    """
    return (
        f"{members} members give at most {members * (members + 1) // 2} independent numbers on a picture: units with "
        "similar words share their influence."
    )


def _count_units(count: int) -> str:
    return f"{count:,} unit" + ("" if count == 1 else "s")
