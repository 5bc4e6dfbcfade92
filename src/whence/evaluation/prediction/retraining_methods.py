"""Attribution methods that need retrained models and nothing else: empirical influence and datamodels.

They are fitted and measured on the same bank in two folds: the subsets of the pool ``test`` at even places are one
fold, those at odd places the other. The scores for a fold are fitted on the other fold and the pool ``development``. So
no subset is predicted by scores that were fitted on its loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.linear_model import RidgeCV

from whence.errors import ConfigError, DataError, MismatchError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.prediction.lds import Form, predictions
from whence.evaluation.queries import DEVELOPMENT
from whence.seeds import derived_seed
from whence.statistics.correlations import Correlations, draw_resamples

#: Penalties among which cross-validation chooses, query by query.
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)


def empirical_influence(kept: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return E_qn = mean loss of q over models without n - mean loss of q over models with n, float64 [Q, N].

    From subsets, bool [S, N], and losses of each query after training on each, [S, Q]. Sign: positive is proponent,
    training on n lowers the loss of q. Unit: that of the loss; the change from leaving n out of a random subset, on
    average over subsets. Its error is about 2 σ / √S for subsets of one half, with σ the standard deviation of a loss
    over the subsets.

    Source: Feldman & Zhang 2020, "What neural networks memorize and why" (arXiv 2008.03703), of losses; as a baseline
    for diffusion models, with the opposite sign, Zheng et al. 2024 (D-TRAK, arXiv 2311.00500).

    Raises:
        DataError: Shapes don't fit, a loss is not finite, or an example is in every subset, or in none.

    Example:
        >>> empirical_influence(np.array([[True, False], [False, True]]), np.array([[1.0], [3.0]])).tolist()
        [[2.0, -2.0]]
    """
    _require_losses(kept, losses)
    with_n = kept.sum(0)
    if (with_n == 0).any() or (with_n == len(kept)).any():
        n = int(np.flatnonzero((with_n == 0) | (with_n == len(kept)))[0])
        raise DataError(
            f"Example {n} (from 0) is in {with_n[n]} of {len(kept)} subsets, so models with it and without it can't be "
            "compared; retrain on more subsets."
        )
    centred = losses - losses.mean(0)
    within = centred.T @ kept.astype(np.float64)
    influence: np.ndarray = -within / (len(kept) - with_n) - within / with_n
    return influence


def datamodel(kept: np.ndarray, losses: np.ndarray, alphas: Sequence[float] = ALPHAS) -> np.ndarray:
    """Return the coefficients of datamodels with the sign of scores, D_qn = -w_qn, float64 [Q, N].

    A datamodel is a linear model of a query's loss [S, Q] as a function of the examples of each subset, bool [S, N]:

        min over w, c of Σ_s (loss_sq - c - Σ_n w_n [n kept in s])² + α ‖w‖²

    α is chosen for each query among `alphas` by leaving out one subset at a time, which for ridge regression needs no
    refitting. With fewer subsets than examples the coefficients are shrunk, more where the losses are noisier. Sign:
    positive is proponent, training on n lowers the loss of q. Unit: that of the loss, shrunk.

    Source: Ilyas et al. 2022, "Datamodels: predicting predictions from training data" (arXiv 2202.00622), there with
    the lasso; with ridge regression as a baseline for diffusion models, Zheng et al. 2024 (D-TRAK, arXiv 2311.00500,
    with 5-fold cross-validation over 0.1, 1 and 10 and the opposite sign).

    Raises:
        DataError: Shapes don't fit, or a loss is not finite.
        ConfigError: There is no penalty, or one is not positive.

    Example:
        >>> kept = np.random.default_rng(0).random((40, 3)) < 0.5
        >>> losses = 7 - kept @ np.array([[3.0], [2.0], [0.0]])  # examples 0 and 1 lower it by 3 and by 2
        >>> datamodel(kept, losses, [1e-6]).round(3).tolist()
        [[3.0, 2.0, 0.0]]
    """
    _require_losses(kept, losses)
    if not len(alphas) or not all(alpha > 0 for alpha in alphas):
        raise ConfigError(f"Penalties are positive numbers, at least one; given {list(alphas)}.")
    ridge = RidgeCV(list(alphas), alpha_per_target=True).fit(kept.astype(np.float64), losses.astype(np.float64))
    scores: np.ndarray = -np.atleast_2d(ridge.coef_)
    return scores


#: From subsets bool [S, N] and losses [S, Q] to scores [Q, N], by name.
RETRAINING_METHODS = {"empirical-influence": empirical_influence, "datamodel": datamodel}


def require_disjoint(fitted: np.ndarray, measured: np.ndarray) -> None:
    """Raise MismatchError if a subset, bool [N], is in both pools: its loss would be remembered, not predicted."""
    if fitted.shape[1:] != measured.shape[1:]:
        raise MismatchError(
            f"The pools are of {fitted.shape[1:]} and {measured.shape[1:]} examples; give two of one bank."
        )
    known = {row.tobytes(): s for s, row in enumerate(fitted)}
    shared = [(known[row.tobytes()], s) for s, row in enumerate(measured) if row.tobytes() in known]
    if shared:
        first, second = shared[0]
        raise MismatchError(
            f"{len(shared)} subsets are in both pools (subset {first} of the one fitted on is subset {second} of the "
            "other), so the scores would be evaluated on what they were fitted to. Use pools of other subsets."
        )


def _require_losses(kept: np.ndarray, losses: np.ndarray) -> None:
    """Raise DataError unless there is a finite loss of every query for each of two subsets or more."""
    if kept.dtype != bool or kept.ndim != 2 or losses.ndim != 2 or len(kept) != len(losses) or len(kept) < 2:
        raise DataError(
            f"Subsets are bool [S, N] and losses [S, Q], at least 2 subsets; given {kept.dtype} {kept.shape} and "
            f"{losses.shape}."
        )
    if not np.isfinite(losses).all():
        raise DataError("A loss is not finite; look for a model that did not train well.")


@dataclass(frozen=True, eq=False)
class Fold:
    """A half of the subsets, by places in the pool, and scores [Q, N] of all queries by methods fitted without them."""

    rows: np.ndarray
    scores: dict[str, np.ndarray]


def make_folds(bank: Bank, pool: str = "test") -> list[Fold]:
    """Return both folds, with the scores of the methods for which there are enough subsets."""
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


def fold_lds(
    bank: Bank, folds: Sequence[Fold], scores: Sequence[np.ndarray], columns: np.ndarray, form: Form, pool: str
) -> Correlations:
    """Return the LDS of queries on the subsets of each fold, by scores [Q, N] of each fold, mean over folds.

    The resamples are the same for all methods.
    """
    models, parts = bank.pool(pool), []
    for fold, values in zip(folds, scores, strict=True):
        seed = derived_seed(0, f"resamples of {pool}, fold from {fold.rows[0]}")
        counts = draw_resamples(len(fold.rows), seed=seed)
        losses = models.mean[np.ix_(fold.rows, columns)]
        parts.append(Correlations.measure(predictions(models.kept[fold.rows], values, form), -losses, counts))
    return Correlations.combine(partial(np.mean, axis=0), parts)
