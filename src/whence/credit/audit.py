"""Audit: how the total of a contributor changes when it takes several names, which nobody should gain by.

Two ways to do that: to hand in the same examples again under each name (copies), or to divide them among the names
(split). Copies need no new models (whence.credit.copied); a split (whence.credit.divided) does, except where a theorem
tells its outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from whence.credit.copied import shapley_totals_with_copies
from whence.credit.credit import Credit
from whence.credit.divided import NAMES, Split
from whence.credit.drift import Drift
from whence.credit.estimators import Estimator
from whence.credit.game import Game
from whence.data import NO_UNIT
from whence.errors import ConfigError

#: (total with k names that hold the same examples) / (total with one), by estimator; sums are those of scores.
COPIES: dict[str, Callable[[int], float]] = {
    "banzhaf": lambda names: names / 2 ** (names - 1),
    "leave-one-out": lambda names: 0.0,
    "add-one-in": float,
    "owen": lambda names: 1.0,
    "sum": float,
}
#: Estimators whose totals no split changes: sums of scores, and Owen values over clusters that know the names.
SPLIT = ("sum", "owen")


def known_drifts(
    credit: Credit, *, game: Game | None = None, clusters: Sequence[str] | None = None, names: int = NAMES
) -> tuple[Drift, ...]:
    """Return the drifts that need no new model, of every contributor but `(none)` in every behaviour.

    With k names that hold the same examples, and worthless copies: leave-one-out totals vanish, as each copy stands in
    for the others; add-one-in totals grow k-fold; Banzhaf totals are k / 2^(k - 1) of what they were, as a name counts
    only without all others; Shapley totals move towards what the contributor adds alone. Sums grow k-fold if the model
    and all other scores stay as they are, since equal examples have equal scores; a split leaves them as they are.
    Owen values are of clusters: the cluster of a contributor and all its names has the same total, copied or split, but
    only if the names are known to be of one cluster. Names that nobody notices do to them what they do to Shapley
    values.

    Args:
        credit: Shares.
        game: What Shapley values were computed from; not needed for others.
        clusters: Of Owen values, the name of each contributor's cluster; default each its own.
        names: k.

    Returns:
        Copies by every estimator; a split by those whose totals no split changes.

    Raises:
        ConfigError: There are fewer than two names, the estimator is unknown, or the game is missing or another.

    Example:
        >>> from whence.credit.credit import Explained
        >>> explained = Explained("diversity", "Diversity", "bits", None, 0.0, 3.0)
        >>> credit = Credit("add-one-in", False, ("a", "b"), (("1",), ("2",)), (explained,), np.array([[1.0, 1.5]]),
        ...                 None, {})
        >>> [(one.unit, one.before, one.after) for one in known_drifts(credit)]
        [('a', 1.0, 10.0), ('b', 1.5, 15.0)]
    """
    kind = "sum" if credit.estimator.startswith("sum-") else credit.estimator
    _check(credit, kind, game, names)
    before = credit.shares
    if kind == "owen" and clusters is not None:
        same = np.array(clusters)[:, None] == np.array(clusters)
        before = before @ same
    if kind == "shapley" and game is not None:
        after = shapley_totals_with_copies(game, names)
    else:
        after = before * COPIES[kind](names)
    return _drifts(credit, "copies", names, before, after) + (
        _drifts(credit, "split", names, before, before) if kind in SPLIT else ()
    )


def split_drifts(
    credit: Credit,
    divided: Split,
    estimator: Estimator,
    values: Callable[[np.ndarray], np.ndarray],
    *,
    count: int,
    seed: int = 0,
) -> tuple[Drift, ...]:
    """Return the drift of one contributor's totals by a split, from values of coalitions of the parts.

    Args:
        credit: Shares before, with v(∅) and v(all), which no split changes.
        divided: Who is split; its contributors are the players.
        estimator: The same as before; of Owen values, over the clusters of `divided`.
        values: From coalitions of these players, bool [M, U + k - 1], to values float64 [M, B]; examples of a coalition
            are `divided.contributors.kept(row)`. This is where models are made.
        count: Coalitions that may be drawn.
        seed: Of them.

    Returns:
        One drift for each behaviour. Both totals are estimates: with few coalitions they differ by chance as well.

    Raises:
        ConfigError: The estimator is another one than that of the credit.
    """
    if estimator.name != credit.estimator:
        raise ConfigError(f"The shares before are {credit.estimator}, so those after can't be {estimator.name}.")
    players = divided.contributors.names
    coalitions = estimator.coalitions(len(players), count, seed)
    behaviours = tuple(one.name for one in credit.explained)
    after = estimator.shares(Game(players, behaviours, coalitions, values(coalitions), credit.none, credit.all))
    places, u = [players.index(part) for part in divided.parts], credit.units.index(divided.unit)
    found = zip(behaviours, credit.shares[:, u].tolist(), after[:, places].sum(1).tolist(), strict=True)
    return tuple(Drift(credit.estimator, "split", len(places), divided.unit, *one) for one in found)


def _check(credit: Credit, kind: str, game: Game | None, names: int) -> None:
    """Check what is asked for.

    Raises:
        ConfigError: It doesn't go together.
    """
    if names < 2:
        raise ConfigError(f"A contributor takes at least 2 names, given {names}.")
    if kind != "shapley" and kind not in COPIES:
        raise ConfigError(f"What copies do to shares of {credit.estimator!r} is not known; add it to the audit.")
    if kind == "shapley" and game is None:
        raise ConfigError("What copies do to Shapley values is computed from the game they are of; none was given.")
    behaviours = tuple(one.name for one in credit.explained)
    if game is not None and (game.players, game.behaviours) != (credit.units, behaviours):
        raise ConfigError(
            f"The game is of {len(game.players)} players and the behaviours {', '.join(game.behaviours[:5])}, the "
            f"shares of {len(credit.units)} contributors and {', '.join(behaviours[:5])}; they must be the same."
        )


def _drifts(
    credit: Credit, attack: Literal["copies", "split"], names: int, before: np.ndarray, after: np.ndarray
) -> tuple[Drift, ...]:
    return tuple(
        Drift(credit.estimator, attack, names, unit, one.name, float(before[b, u]), float(after[b, u]))
        for b, one in enumerate(credit.explained)
        for u, unit in enumerate(credit.units)
        if unit != NO_UNIT
    )
