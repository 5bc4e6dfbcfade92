"""Methods that need retrained models, on two folds: fitted on one half of the subsets, measured on the other.

The subsets of the pool ``test`` with even places are one fold, the others the other. To measure on a fold the scores
are fitted on the other one and the pool ``development``, so no subset is predicted by scores that saw its loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.prediction.lds import Form, predictions
from whence.evaluation.prediction.retrained import METHODS, require_disjoint
from whence.evaluation.tuning import DEVELOPMENT
from whence.seeds import derived_seed
from whence.statistics.uncertainty import Correlations, resamples_of


@dataclass(frozen=True, eq=False)
class Fold:
    """A half of the subsets.

    Attributes:
        rows: Its subsets, places in the pool.
        scores: By name of the method, fitted without these subsets: float64 [Q, N], all queries of the bank.
    """

    rows: np.ndarray
    scores: dict[str, np.ndarray]


def folds(bank: Bank, pool: str = "test") -> list[Fold]:
    """Return both folds, with the scores of the methods for which there are enough subsets.

    Raises:
        MismatchError: A subset is in both pools.
        ArtefactError: The bank lacks one of the pools.
    """
    own, more = bank.pool(pool), bank.pool(DEVELOPMENT)
    require_disjoint(more.kept, own.kept)
    found = []
    for half in (0, 1):
        mine = np.arange(len(own.kept)) % 2 == half
        kept = np.concatenate([own.kept[~mine], more.kept])
        losses = np.concatenate([own.mean[~mine], more.mean])
        found.append(Fold(np.flatnonzero(mine), _fitted(kept, losses)))
    both = set.intersection(*(set(fold.scores) for fold in found))
    return [Fold(fold.rows, {name: fold.scores[name] for name in fold.scores if name in both}) for fold in found]


def _fitted(kept: np.ndarray, losses: np.ndarray) -> dict[str, np.ndarray]:
    """Scores by name of the method; without those that need more subsets."""
    found = {}
    for name, method in METHODS.items():
        try:
            found[name.replace("-", " ")] = method(kept, losses)
        except DataError:
            continue
    return found


def folded(found: list[Correlations]) -> Correlations:
    """Return the mean of correlations over folds."""
    return Correlations(
        np.mean([one.of_query for one in found], axis=0), np.mean([one.resampled for one in found], axis=0)
    )


def fold_lds(bank: Bank, fold: Fold, columns: np.ndarray, scores: np.ndarray, form: Form, pool: str) -> Correlations:
    """Return the LDS of some queries on the subsets of a fold; the same resamples for all methods.

    Args:
        bank: The bank.
        fold: The subsets.
        columns: Places of the queries, [Q].
        scores: [Q, N].
        form: What is added up.
        pool: Name of the pool.
    """
    models = bank.pool(pool)
    seed = derived_seed(0, f"resamples of {pool}, fold from {fold.rows[0]}")
    predicted = predictions(models.kept[fold.rows], scores, form)
    counts = resamples_of(len(fold.rows), seed=seed)
    return Correlations.measure(predicted, -models.mean[np.ix_(fold.rows, columns)], counts)
