"""Calibration on a bank: predicted against measured changes of its queries, for each kind of query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whence.errors import DataError
from whence.evaluation.asked import Kind, Use
from whence.evaluation.bank.bank import Bank
from whence.evaluation.prediction.aligned import align
from whence.evaluation.prediction.calibration import Calibration, calibration
from whence.evaluation.prediction.ceiling import is_deterministic
from whence.evaluation.prediction.lds import predictions
from whence.scores.stored import StoredScores


def bank_calibration(
    bank: Bank,
    given: Sequence[StoredScores],
    pool: str = "test",
    kinds: Sequence[Kind] = tuple(Kind),
    use: Use = Use.REPORTED,
) -> dict[Kind, dict[str, Calibration]]:
    """Return how measured changes of the losses follow those that scores predict, by kind of query and method.

    Measured changes are from the mean of the reference models; from the first one for a deterministic pool, which
    repeats its run.

    Args:
        bank: The bank.
        given: The scores.
        pool: Name of the pool of retrained models.
        kinds: Kinds of queries.
        use: What the queries are for.

    Raises:
        MismatchError: Scores are of another model, other data or other queries than the bank.
        ArtefactError: There is no such pool, or the reference models are not measured.
        DataError: No query of the kinds has scores by all methods, or nothing differs between the subsets.
    """
    models, found = bank.pool(pool), {}
    full = bank.full[0] if is_deterministic(pool) else bank.full.mean(0)
    for kind, aligned in align(bank, given, kinds, use).items():
        measured = (models.mean - full)[:, aligned.columns]
        found[kind] = {
            name: _calibration(name, predictions(~models.kept, scores), measured)
            for name, scores in aligned.methods.items()
        }
    return found


def _calibration(name: str, predicted: np.ndarray, measured: np.ndarray) -> Calibration:
    try:
        return calibration(predicted, measured)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
