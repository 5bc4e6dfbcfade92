"""Drift: how the total of a contributor changes when it takes several names, which nobody should gain by.

There are two such attacks: to hand in the same examples again under each name (copies), or to divide them among the
names (split). Copies need no new models. A split does (whence.credit.split), unless it is known that no split changes
the totals of the estimator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whence.credit.credit import Credit
from whence.credit.estimators import EstimatorFacts, estimator_facts
from whence.credit.game import Game
from whence.data import NO_UNIT
from whence.errors import ConfigError

#: Names that a contributor takes.
NAMES = 10


@dataclass(frozen=True)
class Drift:
    """How the total of one contributor in one behaviour changes when it takes several names.

    Attributes:
        estimator: Estimator of the shares.
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
        """Total after divided by total before; NaN where that was 0."""
        return self.after / self.before if self.before else float("nan")

    @property
    def each(self) -> float:
        """The mean share of a name; for copies, the share that is left to a contributor whom others copy."""
        return self.after / self.names


def table(drifts: Sequence[Drift]) -> dict[str, list[Any]]:
    """Return drifts as columns, one row for each drift; a ratio is None where the total before was 0.

    Example:
        >>> table([Drift("x", "copies", 2, "a", "v", 0.0, 2.0)])["ratio"]
        [None]
    """
    names = ("estimator", "attack", "names", "unit", "behaviour", "before", "after", "ratio", "each")
    columns = {name: [getattr(drift, name) for drift in drifts] for name in names}
    return columns | {"ratio": [drift.ratio if drift.before else None for drift in drifts]}


def summary(drifts: Sequence[Drift]) -> dict[str, list[Any]]:
    """Return the mean size of totals before and after, and their ratio, by estimator, attack, names and behaviour.

    Sizes are absolute values, so that a contributor with a tiny total hardly counts, unlike in a mean of ratios.

    Example:
        >>> drifts = [Drift("x", "copies", 2, "a", "v", 1.0, 2.0), Drift("x", "copies", 2, "b", "v", -3.0, -3.0)]
        >>> summary(drifts)["ratio"]
        [1.25]
    """
    groups: dict[tuple[str, str, int, str], list[Drift]] = {}
    for drift in drifts:
        groups.setdefault((drift.estimator, drift.attack, drift.names, drift.behaviour), []).append(drift)
    keys = ("estimator", "attack", "names", "behaviour")
    columns: dict[str, list[Any]] = {name: [group[k] for group in groups] for k, name in enumerate(keys)}
    for moment in ("before", "after"):
        columns[moment] = [
            float(np.mean([abs(getattr(drift, moment)) for drift in group])) for group in groups.values()
        ]
    pairs = zip(columns["before"], columns["after"], strict=True)
    return columns | {"ratio": [after / before if before else float("nan") for before, after in pairs]}


def known_drifts(
    credit: Credit, *, game: Game | None = None, clusters: Sequence[str] | None = None, names: int = NAMES
) -> tuple[Drift, ...]:
    """Return the drifts that need no new model, of every contributor but `(none)` in every behaviour.

    With k = `names` names that hold the same examples, and worthless copies: leave-one-out totals vanish, as each copy
    stands in for the others; add-one-in totals grow k-fold; Banzhaf totals are k / 2^(k - 1) of what they were, as a
    name counts only without all others; Shapley totals, computed from their game, move towards what the contributor
    adds alone. Sums of scores grow k-fold if the model and all other scores stay as they are, since equal examples have
    equal scores; a split leaves them as they are. Owen values are of `clusters`, the name of each contributor's, by
    default its own: the cluster of a contributor and all its names has the same total, copied or split, but only if the
    names are known to be of one cluster. Otherwise Owen values change as Shapley values do.

    Returns:
        Copies by every estimator; a split by those whose totals no split changes.

    Raises:
        ConfigError: There are fewer than two names, the estimator is unknown, or the game is missing or another.

    Example:
        >>> from whence.credit.credit import Explained
        >>> explained = Explained("diversity", "Diversity", "bits", None, 0.0, 3.0)
        >>> credit = Credit("add-one-in", False, ("a", "b"), (("1",), ("2",)), (explained,), np.array([[1.0, 1.5]]),
        ...                 None, {})
        >>> [(drift.unit, drift.before, drift.after) for drift in known_drifts(credit)]
        [('a', 1.0, 10.0), ('b', 1.5, 15.0)]
    """
    facts = _require_known(credit, game, names)
    before = credit.shares
    if facts.name == "owen" and clusters is not None:
        before = before @ (np.array(clusters)[:, None] == np.array(clusters))
    if facts.replicated_totals is not None and game is not None:
        after = facts.replicated_totals(game, names)
    else:
        after = before * (facts.replication(names) if facts.replication else np.nan)
    split = _drifts(credit, "split", names, before, before) if facts.split_invariant else ()
    return _drifts(credit, "copies", names, before, after) + split


def _require_known(credit: Credit, game: Game | None, names: int) -> EstimatorFacts:
    """Return what is known of the estimator, or raise ConfigError if credit, game and names don't go together."""
    if names < 2:
        raise ConfigError(f"A contributor takes at least 2 names, given {names}.")
    facts = estimator_facts(credit.estimator)
    if facts is None or (facts.replication is None and facts.replicated_totals is None):
        raise ConfigError(f"What copies do to shares of {credit.estimator!r} is not known; state it on the estimator.")
    if facts.replicated_totals is not None and game is None:
        raise ConfigError(f"What copies do to {facts.name} is computed from the game; none was given.")
    behaviours = tuple(one.name for one in credit.explained)
    if game is not None and (game.players, game.behaviours) != (credit.units, behaviours):
        raise ConfigError(
            f"The game is of {len(game.players)} players and the behaviours {', '.join(game.behaviours[:5])}, the "
            f"shares of {len(credit.units)} contributors and {', '.join(behaviours[:5])}; they must be the same."
        )
    return facts


def _drifts(
    credit: Credit, attack: Literal["copies", "split"], names: int, before: np.ndarray, after: np.ndarray
) -> tuple[Drift, ...]:
    return tuple(
        Drift(credit.estimator, attack, names, unit, one.name, float(before[b, u]), float(after[b, u]))
        for b, one in enumerate(credit.explained)
        for u, unit in enumerate(credit.units)
        if unit != NO_UNIT
    )
