"""Scores of several methods in the order of a bank: on the queries that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.asked import Kind, Use, asked
from whence.evaluation.bank.bank import Bank
from whence.scores.stored import StoredScores


@dataclass(frozen=True, eq=False)
class Aligned:
    """Scores of the same queries by several methods.

    Attributes:
        columns: Places of the queries among those of the bank, int [Q].
        queries: Their ids, Q.
        methods: Scores float64 [Q, N] by name of the method, examples in the bank's order.
    """

    columns: np.ndarray
    queries: tuple[str, ...]
    methods: Mapping[str, np.ndarray]


def align(
    bank: Bank, given: Sequence[StoredScores], kinds: Sequence[Kind] = tuple(Kind), use: Use = Use.REPORTED
) -> dict[Kind, Aligned]:
    """Return the scores of each kind of query, by the methods that have any, of the queries that all of these have.

    Args:
        bank: The bank.
        given: The scores.
        kinds: Kinds of queries.
        use: What the queries are for.

    Returns:
        The scores by kind; kinds of which there are none are left out.

    Raises:
        MismatchError: Scores are of another model, other data or other queries than the bank.
        DataError: There are no scores of any kind.
    """
    methods = {one.name: bank.require(one.scores, one.manifest) for one in given}
    found = {}
    for kind in kinds:
        wanted = np.flatnonzero(asked(bank.drawn, bank.development, kind, use))
        names = {bank.queries[q] for q in wanted}
        having = {name: one for name, one in methods.items() if names.intersection(one.queries)}
        columns = np.array([q for q in wanted if all(bank.queries[q] in one.queries for one in having.values())], int)
        queries = tuple(bank.queries[q] for q in columns)
        if having and queries:
            rows = {
                n: one.scores[[one.queries.index(q) for q in queries]].double().numpy() for n, one in having.items()
            }
            found[kind] = Aligned(columns, queries, rows)
    if not found:
        raise DataError(
            f"No {' or '.join(kinds)} query for {use} figures has scores by all methods. Attribute the bank's queries: "
            f"{bank.attribution} --out scores/"
        )
    return found
