"""The figures of measured removals: the effect on the query's loss, on other queries' and on the query's picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank import Bank
from whence.evaluation.deletion.deletion import Deletion
from whence.evaluation.deletion.effect import Effect, effect, harm
from whence.statistics.statistic import Statistic


@dataclass(frozen=True)
class Figures:
    """What removals did.

    Attributes:
        loss: The effect on the loss of the query for which the examples were removed.
        others: The effect on the mean loss of the other queries; a method that names what all queries need has much.
        picture: The effect on the distance of the picture that is drawn again from the query; None if none was drawn.
    """

    loss: Effect
    others: Effect
    picture: Effect | None

    @classmethod
    def of(cls, bank: Bank, deletion: Deletion) -> Figures:
        """Return the figures of removals."""
        distances = deletion.distances(bank)
        picture = effect(distances) if distances.shape[1] else None
        return cls(effect(deletion.own), effect(deletion.others(bank)), picture)


@dataclass(frozen=True)
class Comparison:
    """How much more the removals of one method hurt than those of another, for the queries that both have.

    Attributes:
        loss: Difference of the losses of the query.
        picture: Difference of the distances of the picture from the query; None if none was drawn.
        queries: How many queries both have.
    """

    loss: Statistic
    picture: Statistic | None
    queries: int

    @classmethod
    def of(cls, bank: Bank, first: Deletion, second: Deletion) -> Comparison:
        """Return the first minus the second, by `harm`.

        Raises:
            DataError: They are of different numbers of examples, or have no query or no training seed in common.
        """
        a, b = first.wanted, second.wanted
        queries = [q for q in a.queries if q in b.queries]
        seeds = [seed for seed in a.seeds if seed in b.seeds]
        if not queries or not seeds or a.removed.shape[1] != b.removed.shape[1]:
            raise DataError(
                f"Removals are compared that are of equally many examples and share queries and seeds; those of "
                f"{a.method} ({a.removed.shape[1]} examples) and {b.method} ({b.removed.shape[1]}) share "
                f"{len(queries)} queries and {len(seeds)} seeds."
            )
        drawn = [q for q in queries if bank.drawn[q]]
        losses = [_chosen(one.own[0], one.wanted.queries, queries, one.wanted.seeds, seeds) for one in (first, second)]
        distances = [
            _chosen(one.distances(bank)[0], one.drawn(bank), drawn, one.wanted.seeds, seeds) for one in (first, second)
        ]
        return cls(harm(*losses), harm(*distances) if drawn else None, len(queries))


def _chosen(
    values: np.ndarray, queries: tuple[int, ...], rows: list[int], seeds: tuple[int, ...], columns: list[int]
) -> np.ndarray:
    """Values [Q', K] of some queries and seeds."""
    lines = [queries.index(q) for q in rows]
    return values[lines][:, [seeds.index(seed) for seed in columns]]
