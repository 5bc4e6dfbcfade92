"""Two folds for methods that need retrained models: fitted on one half of the subsets, measured on the other.

The subsets of the pool ``test`` at even places are one fold, those at odd places the other. The scores for a fold are
fitted on the other fold and the pool ``development``. So no subset is predicted by scores that were fitted on its loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.prediction.lds import Form, predictions
from whence.evaluation.prediction.retraining_methods import RETRAINING_METHODS, require_disjoint
from whence.evaluation.tuning import DEVELOPMENT
from whence.seeds import derived_seed
from whence.statistics.correlations import Correlations, draw_resamples


@dataclass(frozen=True, eq=False)
class Fold:
    """A half of the subsets.

    Attributes:
        rows: Its subsets, places in the pool.
        scores: Scores by name of the method, fitted without these subsets: float64 [Q, N], all queries of the bank.
    """

    rows: np.ndarray
    scores: dict[str, np.ndarray]


def make_folds(bank: Bank, pool: str = "test") -> list[Fold]:
    """Return both folds, with the scores of the methods for which there are enough subsets.

    Raises:
        MismatchError: A subset is in both pools.
        ArtefactError: The bank lacks one of the pools.
    """
    models, development = bank.pool(pool), bank.pool(DEVELOPMENT)
    require_disjoint(development.kept, models.kept)
    folds = []
    for half in (0, 1):
        in_fold = np.arange(len(models.kept)) % 2 == half
        kept = np.concatenate([models.kept[~in_fold], development.kept])
        losses = np.concatenate([models.mean[~in_fold], development.mean])
        folds.append(Fold(np.flatnonzero(in_fold), _fit(kept, losses)))
    fitted = set.intersection(*(set(fold.scores) for fold in folds))
    return [Fold(fold.rows, {name: fold.scores[name] for name in fold.scores if name in fitted}) for fold in folds]


def _fit(kept: np.ndarray, losses: np.ndarray) -> dict[str, np.ndarray]:
    """Scores by name of the method; methods that need more subsets are left out."""
    scores = {}
    for name, method in RETRAINING_METHODS.items():
        try:
            scores[name.replace("-", " ")] = method(kept, losses)
        except DataError:
            continue
    return scores


def mean_over_folds(folds: Sequence[Correlations]) -> Correlations:
    """Return the mean of correlations over folds."""
    return Correlations(
        np.mean([fold.of_query for fold in folds], axis=0), np.mean([fold.resampled for fold in folds], axis=0)
    )


def fold_lds(bank: Bank, fold: Fold, columns: np.ndarray, scores: np.ndarray, form: Form, pool: str) -> Correlations:
    """Return the LDS of some queries on the subsets of a fold; the same resamples for all methods.

    Args:
        bank: The bank.
        fold: The subsets.
        columns: Places of the queries, [Q].
        scores: [Q, N].
        form: What is added up over the examples of a subset.
        pool: Name of the pool.
    """
    models = bank.pool(pool)
    seed = derived_seed(0, f"resamples of {pool}, fold from {fold.rows[0]}")
    counts = draw_resamples(len(fold.rows), seed=seed)
    return Correlations.measure(
        predictions(models.kept[fold.rows], scores, form), -models.mean[np.ix_(fold.rows, columns)], counts
    )
