"""Linear datamodeling scores on a bank: one table for each kind of query."""

from __future__ import annotations

from collections.abc import Sequence

from whence.evaluation.asked import Kind, Use
from whence.evaluation.bank.bank import Bank
from whence.evaluation.prediction.aligned import align
from whence.evaluation.prediction.lds import Form
from whence.evaluation.prediction.lds_table import Table, lds_table, noise_pool
from whence.scores.stored import StoredScores


def bank_lds(
    bank: Bank,
    given: Sequence[StoredScores],
    pool: str = "test",
    kinds: Sequence[Kind] = tuple(Kind),
    use: Use = Use.REPORTED,
    form: Form = Form.PLAIN,
) -> dict[Kind, Table]:
    """Measure scores against the models of a bank.

    Methods are compared on the queries that all of them have, of those that have any of the kind.

    Args:
        bank: The bank.
        given: The scores.
        pool: Name of the pool of models.
        kinds: Kinds of queries, each of which gets a table.
        use: What the queries are for.
        form: What is added up over the examples of a subset.

    Returns:
        A table for each kind of which there are scores. `align` and `Bank.pool` say what is refused.
    """
    models, noise = bank.pool(pool), noise_pool(bank.pools, pool)
    return {
        kind: lds_table(models, found.columns, found.queries, found.methods, form, noise)
        for kind, found in align(bank, given, kinds, use).items()
    }
