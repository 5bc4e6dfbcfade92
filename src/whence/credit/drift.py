"""Drift: how much a contributor's total changes when it takes several names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Drift:
    """What taking several names does to one contributor's total in one behaviour.

    Attributes:
        estimator: Of the shares.
        attack: `copies` or `split`.
        names: How many names it takes.
        unit: The contributor.
        behaviour: What is shared out.
        before: Its share under one name.
        after: The sum of the shares of all its names.
    """

    estimator: str
    attack: Literal["copies", "split"]
    names: int
    unit: str
    behaviour: str
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Total after by total before; NaN where there was nothing before."""
        return self.after / self.before if self.before else float("nan")

    @property
    def each(self) -> float:
        """What each name has on average: of copies, what is left to a contributor whom others copy."""
        return self.after / self.names


def table(drifts: Sequence[Drift]) -> dict[str, list[Any]]:
    """Return drifts as columns, one row for each."""
    names = ("estimator", "attack", "names", "unit", "behaviour", "before", "after", "ratio", "each")
    return {name: [getattr(one, name) for one in drifts] for name in names}


def summary(drifts: Sequence[Drift]) -> dict[str, list[Any]]:
    """Return the mean size of totals before and after, and their ratio, by estimator, attack, names and behaviour.

    Sizes are absolute values, so that a contributor with next to nothing has next to no say, unlike in means of ratios.

    Example:
        >>> drifts = [Drift("x", "copies", 2, "a", "v", 1.0, 2.0), Drift("x", "copies", 2, "b", "v", -3.0, -3.0)]
        >>> summary(drifts)["ratio"]
        [1.25]
    """
    groups: dict[tuple[str, str, int, str], list[Drift]] = {}
    for one in drifts:
        groups.setdefault((one.estimator, one.attack, one.names, one.behaviour), []).append(one)
    columns: dict[str, list[Any]] = {
        name: [group[place] for group in groups]
        for place, name in enumerate(("estimator", "attack", "names", "behaviour"))
    }
    for moment in ("before", "after"):
        columns[moment] = [float(np.mean([abs(getattr(one, moment)) for one in own])) for own in groups.values()]
    pairs = zip(columns["before"], columns["after"], strict=True)
    return columns | {"ratio": [after / before if before else float("nan") for before, after in pairs]}
