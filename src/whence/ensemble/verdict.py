"""What a reading says, in words that claim no more than it shows."""

from __future__ import annotations

from whence.ensemble.influence import Influence


def verdict(reading: Influence, noun: str = "distance") -> str:
    """Return who mattered, or that nobody in particular did, or that it could not have been seen.

    Args:
        reading: Effects of units and of placebos.
        noun: What an effect is, such as "distance".

    Example:
        >>> import torch
        >>> print(verdict(Influence("0/0", ("a", "b"), torch.tensor([0.2, 0.1]), torch.arange(100) / 100)))
        Nobody in particular: none of 2 units rises above 100 placebos at a family-wise error of 5%. One distance of
        more than 0.98 would have been named; the largest is 0.2.
    """
    error = f"a family-wise error of {percent(reading.level)}"
    family, beside = _units(len(reading.units)), f"{len(reading.placebos):,} placebos"
    if reading.influential:
        shown = ", ".join(reading.influential[:5])
        more = len(reading.influential) - 5
        many = f" and {more} more" if more > 0 else ""
        return f"Above {beside} at {error}, of {family}: {shown}{many}."
    if reading.threshold is None:
        return (
            f"Nobody can be named: among {family} at {error} it takes {reading.needed:,} placebos, and there are "
            f"{len(reading.placebos):,}."
        )
    return (
        f"Nobody in particular: none of {family} rises above {beside} at {error}. One {noun} of more than "
        f"{reading.threshold:.3g} would have been named; the largest is {reading.radius:.3g}."
    )


def background(reading: Influence) -> str:
    """Return what the units show as a whole, besides the question who.

    Example:
        >>> import torch
        >>> both = torch.arange(100) / 100
        >>> print(background(Influence("0/0", tuple(map(str, range(100))), both, both)))
        4 units lie above 95% of the placebos by themselves; 4.95 of 100 do by chance. As a whole they do not lie above
        them (p = .50).
    """
    alone = int((reading.p_values <= reading.level).sum())
    whole = "lie above them" if reading.overall <= reading.level else "do not lie above them"
    return (
        f"{_units(alone)} {'lies' if alone == 1 else 'lie'} above {percent(1 - reading.level)} of the placebos by "
        f"{'itself' if alone == 1 else 'themselves'}; {reading.expected_by_chance:.3g} of {len(reading.units):,} do by "
        f"chance. As a whole they {whole} (p = {chance(reading.overall)})."
    )


def percent(share: float) -> str:
    """Return a share in words, to as many digits as it takes.

    Example:
        >>> percent(0.05), percent(0.001), percent(1 - 0.001)
        ('5%', '0.1%', '99.9%')
    """
    return f"{100 * share:.6g}%"


def chance(p: float) -> str:
    """Return a probability in words.

    Example:
        >>> chance(0.031), chance(1e-9), chance(1.0)
        ('.031', '1e-09', '1.0')
    """
    if p < 0.001:
        return f"{p:.0e}"
    return (f"{p:.3f}" if p < 0.1 else f"{p:.2f}").lstrip("0") if p < 1 else "1.0"


def shared(members: int) -> str:
    """Return why units may share their influence.

    Example:
        >>> shared(16)
        '16 members give at most 136 independent numbers on a picture: units with similar words share their influence.'
    """
    return (
        f"{members} members give at most {members * (members + 1) // 2} independent numbers on a picture: units with "
        "similar words share their influence."
    )


def _units(count: int) -> str:
    return f"{count:,} unit" + ("" if count == 1 else "s")
