"""Splits: a contributor divides its examples among several names, which takes new models to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whence.credit.behaviours import behaviour
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit
from whence.credit.drift import NAMES, Drift
from whence.credit.estimators import ESTIMATORS, Estimator, owen
from whence.credit.game import Game
from whence.credit.make_game import measure_game
from whence.credit.study import Study
from whence.data import NO_UNIT
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError


@dataclass(frozen=True)
class Split:
    """Contributors of whom one took several names.

    Attributes:
        unit: The contributor that took them.
        parts: Its names; its examples are divided among them at random, as evenly as possible.
        contributors: All contributors, `unit` under these names.
    """

    unit: str
    parts: tuple[str, ...]
    contributors: Contributors

    @property
    def clusters(self) -> tuple[str, ...]:
        """A cluster for each contributor, all parts in one: for Owen values."""
        return tuple(self.unit if name in self.parts else name for name in self.contributors.names)


def split_contributor(contributors: Contributors, unit: str, names: int = NAMES, seed: int = 0) -> Split:
    """Return the contributors after one has divided its examples among several names.

    Raises:
        DataError: There is no such contributor.
        ConfigError: There are fewer than two names, more than it has examples, or it is `(none)`.

    Example:
        >>> split = split_contributor(Contributors.of(("1", "2", "3"), (("a",), ("a", "b"), ("b",))), "a", 2)
        >>> split.parts, split.contributors.sizes.tolist(), split.clusters
        (('a (1 of 2)', 'a (2 of 2)'), [1, 1, 2], ('a', 'a', 'b'))
    """
    u = contributors.index_of(unit)
    rows = np.flatnonzero(contributors.member[u])
    if not 2 <= names <= len(rows) or unit == NO_UNIT:
        raise ConfigError(
            f"{unit!r} with {len(rows)} examples can't take {names} names: a contributor takes from 2 names on, with "
            f"at least one example each, and {NO_UNIT!r} takes none."
        )
    parts = tuple(f"{unit} ({k + 1} of {names})" for k in range(names))
    order = np.random.default_rng(seed).permutation(np.arange(len(rows)) % names)
    part_of = {int(n): parts[k] for n, k in zip(rows, order, strict=True)}
    owners = [[contributors.names[v] for v in np.flatnonzero(column)] for column in contributors.member.T]
    units = [[part_of[n] if name == unit else name for name in several] for n, several in enumerate(owners)]
    return Split(unit, parts, Contributors.of(contributors.examples, units))


def split_drifts(
    credit: Credit,
    split: Split,
    estimator: Estimator,
    values: Callable[[np.ndarray], np.ndarray],
    *,
    count: int,
    seed: int = 0,
) -> tuple[Drift, ...]:
    """Return the drift of one contributor's totals by a split, from values of coalitions of the parts.

    `values` takes coalitions of the players, which are `split.contributors`, bool [M, U + k - 1], to float64 [M, B];
    models are made there. At most `count` coalitions are drawn. The estimator is that of the credit; of Owen values, it
    is over the clusters of the split. v(∅) and v(all) are of the credit: no split changes them.

    Returns:
        One drift for each behaviour. Both totals are estimates: with few coalitions they differ by chance as well.

    Raises:
        ConfigError: The estimator is another one than that of the credit.
    """
    if estimator.name != credit.estimator:
        raise ConfigError(f"The shares before are {credit.estimator}, so those after can't be {estimator.name}.")
    players = split.contributors.names
    coalitions = estimator.coalitions(len(players), count, seed)
    behaviours = tuple(one.name for one in credit.explained)
    after = estimator.shares(Game(players, behaviours, coalitions, values(coalitions), credit.none, credit.all))
    columns, u = [players.index(part) for part in split.parts], credit.units.index(split.unit)
    totals = zip(behaviours, credit.shares[:, u].tolist(), after[:, columns].sum(1).tolist(), strict=True)
    return tuple(Drift(credit.estimator, "split", len(columns), split.unit, *total) for total in totals)


def can_measure_split(credit: Credit, made: Mapping[str, Any]) -> bool:
    """Return whether shares are of a study, so that a split can be measured on new models; `made` as their manifest."""
    return credit.estimator in ESTIMATORS and "behaviours" in made


def measure_split(
    study: Study,
    credit: Credit,
    made: Mapping[str, Any],
    unit: str,
    names: int,
    *,
    engine: Engine = DEFAULT,
) -> tuple[Drift, ...]:
    """Return the drift of a contributor's totals in each behaviour, after making models of coalitions of its parts.

    `made` says how the shares of the study were computed, from their manifest; `names` how many names it takes.
    """
    split = split_contributor(Contributors.of_data(study.data), unit, names)
    players, behaviours = split.contributors, [behaviour(name) for name in made["behaviours"]]
    estimator = ESTIMATORS[credit.estimator]
    if credit.estimator == "owen":
        estimator = owen(len(players), split.clusters)

    def values(rows: np.ndarray) -> np.ndarray:
        models: dict[str, Any] = {"repeats": made["repeats"], "engine": engine}
        return measure_game(study, players, behaviours, rows, **models).values

    return split_drifts(credit, split, estimator, values, count=made["coalitions"], seed=made["seed"])
