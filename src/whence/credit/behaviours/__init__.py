"""Behaviours: what is shared out among contributors."""

from __future__ import annotations

from whence.credit.behaviours.behaviour import Behaviour, Values
from whence.credit.behaviours.classes import classes
from whence.credit.behaviours.diversity import diversity
from whence.credit.behaviours.held_out import FIT, HELD_OUT_FIT
from whence.credit.behaviours.pictures import DISTANCE, SSIM
from whence.errors import ConfigError

__all__ = ["BEHAVIOURS", "Behaviour", "Values", "behaviour"]

#: All behaviours without an argument, by name.
BEHAVIOURS: dict[str, Behaviour] = {
    one.name: one for one in (diversity(), HELD_OUT_FIT, classes(), FIT, DISTANCE, SSIM)
}


def behaviour(name: str) -> Behaviour:
    """Return the behaviour of that name; `class:7` is the share of drawn pictures of class 7.

    Raises:
        ConfigError: There is none.

    Example:
        >>> behaviour("diversity").unit, behaviour("class:7").unit
        ('bits', 'share of pictures')
    """
    if name in BEHAVIOURS:
        return BEHAVIOURS[name]
    kind, _, argument = name.partition(":")
    if kind == "class" and argument:
        return classes(argument)
    raise ConfigError(f"There is no behaviour {name!r}; there are {', '.join(BEHAVIOURS)} and class:NAME.")
