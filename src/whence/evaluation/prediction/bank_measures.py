"""Measures of stored scores on a bank: linear datamodeling scores and calibration, for each kind of query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.prediction.calibration import Calibration, calibration
from whence.evaluation.prediction.ceiling import is_deterministic, noise_pool
from whence.evaluation.prediction.lds import Form, LdsTable, lds_table, predictions
from whence.evaluation.queries import Kind, Use, query_places
from whence.scores.stored import StoredScores

KINDS = tuple(Kind)


@dataclass(frozen=True, eq=False)
class AlignedScores:
    """Scores of the same queries by several methods, in the order of a bank.

    Attributes:
        columns: Places of the queries among those of the bank, int [Q].
        queries: Ids of the queries, Q.
        methods: Scores float64 [Q, N] by name of the method, examples in the bank's order.
    """

    columns: np.ndarray
    queries: tuple[str, ...]
    methods: Mapping[str, np.ndarray]


def align_scores(
    bank: Bank, stored: Sequence[StoredScores], kinds: Sequence[Kind] = KINDS, use: Use = Use.REPORTED
) -> dict[Kind, AlignedScores]:
    """Return the scores of each kind of query, by the methods that have any.

    Only queries count that all of these methods have. Kinds without queries are left out.

    Args:
        bank: The bank.
        stored: The scores.
        kinds: Kinds of queries.
        use: What the queries are for.

    Raises:
        MismatchError: Scores are of another model, other data or other queries than the bank.
        DataError: There are no scores of any kind.
    """
    methods = {scores.name: bank.require(scores.scores, scores.manifest) for scores in stored}
    aligned = {}
    for kind in kinds:
        places = query_places(bank, kind, use=use)
        names = {bank.queries[q] for q in places}
        scored = {name: scores for name, scores in methods.items() if names.intersection(scores.queries)}
        columns = np.array([q for q in places if all(bank.queries[q] in s.queries for s in scored.values())], int)
        queries = tuple(bank.queries[q] for q in columns)
        if scored and queries:
            rows = {
                name: scores.scores[[scores.queries.index(q) for q in queries]].double().numpy()
                for name, scores in scored.items()
            }
            aligned[kind] = AlignedScores(columns, queries, rows)
    if not aligned:
        raise DataError(
            f"No {' or '.join(kinds)} query for {use} figures has scores by all methods. Attribute the bank's queries: "
            f"{bank.attribution} --out scores/"
        )
    return aligned


def bank_lds(
    bank: Bank,
    stored: Sequence[StoredScores],
    pool: str = "test",
    kinds: Sequence[Kind] = KINDS,
    use: Use = Use.REPORTED,
    form: Form = Form.PLAIN,
) -> dict[Kind, LdsTable]:
    """Return a table of linear datamodeling scores for each kind of query of which there are scores.

    Methods are compared on the queries that all of them have. `align_scores` and `Bank.pool` say what is refused.

    Args:
        bank: The bank.
        stored: The scores.
        pool: Name of the pool of retrained models.
        kinds: Kinds of queries.
        use: What the queries are for.
        form: What is added up over the examples of a subset.
    """
    models, noise = bank.pool(pool), noise_pool(bank.pools, pool)
    return {
        kind: lds_table(models, aligned.columns, aligned.queries, aligned.methods, form, noise)
        for kind, aligned in align_scores(bank, stored, kinds, use).items()
    }


def bank_calibration(
    bank: Bank,
    stored: Sequence[StoredScores],
    pool: str = "test",
    kinds: Sequence[Kind] = KINDS,
    use: Use = Use.REPORTED,
) -> dict[Kind, dict[str, Calibration]]:
    """Return the calibration of each method, for each kind of query of which there are scores.

    Changes of the loss are measured from the mean of the reference models. For a deterministic pool, which repeats the
    run of the first reference model, they are measured from that model.

    Args:
        bank: The bank.
        stored: The scores.
        pool: Name of the pool of retrained models.
        kinds: Kinds of queries.
        use: What the queries are for.

    Raises:
        MismatchError: Scores are of another model, other data or other queries than the bank.
        ArtefactError: There is no such pool, or the reference models are not measured.
        DataError: No query of the kinds has scores by all methods, or nothing differs between the subsets.
    """
    models, calibrations = bank.pool(pool), {}
    full = bank.full[0] if is_deterministic(pool) else bank.full.mean(0)
    for kind, aligned in align_scores(bank, stored, kinds, use).items():
        measured = (models.mean - full)[:, aligned.columns]
        calibrations[kind] = {
            name: _calibration(name, predictions(~models.kept, scores), measured)
            for name, scores in aligned.methods.items()
        }
    return calibrations


def _calibration(name: str, predicted: np.ndarray, measured: np.ndarray) -> Calibration:
    """Calibration of one method, whose name stands in the error message."""
    try:
        return calibration(predicted, measured)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
