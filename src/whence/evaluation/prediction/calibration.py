"""Calibration: is the measured change of the loss as large as the predicted one?

For a retrained subset s and a query q the predicted change x_sq is the sum of the scores of the examples that the
subset leaves out; the measured one is y_sq. With means over the subsets taken out, query by query,

    slope  b  = Σ x y / Σ x²
    R²        = (Σ x y)² / (Σ x² Σ y²)
    intercept = mean of (y - b x), before means are taken out

With a slope below 1, changes are smaller than predicted. It says something only of scores in units of the loss; without
a unit, only R² can be compared. Random error of the scores lowers both. If y is measured from the loss after training
on everything, the intercept is the cost of training on less. Nothing here says how often a measured change is within a
predicted range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank.alignment import KINDS, align_scores
from whence.evaluation.bank.bank import Bank
from whence.evaluation.prediction.ceiling import is_deterministic
from whence.evaluation.prediction.lds import predictions
from whence.evaluation.queries import Kind, Use
from whence.scores.stored import StoredScores
from whence.statistics.statistic import Statistic, bootstrap_statistic, jackknife_interval

#: Differences between subsets, relative to the largest value, that are rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predicted against measured changes of S subsets and Q queries; intervals are over the subsets.

    Attributes:
        slope: b of all queries together, in measured per predicted change; chance: 0.
        intercept: Mean measured change where none is predicted; chance: the mean measured change at all.
        r2: R² of all queries together, from 0 to 1. Chance: its mean over all ways to give subsets each other's
            measured changes, ‖XYᵀ‖² / ((S - 1) ‖X‖² ‖Y‖²).
        query_slope: Median over the queries of each one's own slope; chance: 0.
        query_r2: Mean over the queries of each one's own R²; chance: 1/(S - 1).
        slopes: b of each query by itself, [Q]; NaN where its predictions don't differ.
        r2s: R² of each query by itself, [Q]; 0 where its predictions don't differ, NaN where its measurements don't.
    """

    slope: Statistic
    intercept: Statistic
    r2: Statistic
    query_slope: Statistic
    query_r2: Statistic
    slopes: np.ndarray
    r2s: np.ndarray


def calibration(predicted: np.ndarray, measured: np.ndarray, *, seed: int = 0) -> Calibration:
    """Return how measured changes y follow predicted ones x, both [S, Q]; positive: the loss rises.

    Predicted are `predictions` of what each subset leaves out. Measured are losses after training on the subset, from
    any point of each query, such as its mean or the loss after training on everything: slopes and R² don't depend on
    it, the intercept does.

    Raises:
        DataError: Shapes differ, there are fewer than 3 subsets, a number is not finite, or nothing differs between
            subsets.

    Example:
        >>> predicted = np.arange(12.0).reshape(6, 2)
        >>> fit = calibration(predicted, 0.5 * predicted + 3)
        >>> fit.slope.value, fit.intercept.value, fit.r2.value
        (0.5, 3.0, 1.0)
    """
    x, y = _centred(predicted, measured)
    subsets = len(x)
    every, without = np.ones((1, subsets)), 1 - np.eye(subsets)

    def by_jackknife(statistic: Callable[[np.ndarray], np.ndarray], chance: float) -> Statistic:
        value = float(statistic(every)[0])
        return Statistic(value, jackknife_interval(value, statistic(without)), chance)

    def intercept(drawn: np.ndarray) -> np.ndarray:
        shift: np.ndarray = drawn @ measured.mean(1) - _pooled(drawn, x, y)[0] * (drawn @ predicted.mean(1))
        return shift / subsets

    together = np.square(x @ y.T).sum() / (np.square(x).sum() * np.square(y).sum())
    slopes, r2s = (values[0] for values in _each(every, x, y))
    return Calibration(
        slope=bootstrap_statistic(subsets, lambda drawn: _pooled(drawn, x, y)[0], 0.0, seed),
        intercept=bootstrap_statistic(subsets, intercept, float(measured.mean()), seed),
        r2=by_jackknife(lambda drawn: _pooled(drawn, x, y)[1], float(together / (subsets - 1))),
        query_slope=bootstrap_statistic(
            subsets, lambda drawn: _over_queries(np.nanmedian, _each(drawn, x, y)[0]), 0.0, seed
        ),
        query_r2=by_jackknife(lambda drawn: _over_queries(np.nanmean, _each(drawn, x, y)[1]), 1 / (subsets - 1)),
        slopes=slopes,
        r2s=r2s,
    )


def _centred(predicted: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Changes [S, Q] minus their means over the subsets; 0 where they don't differ but for rounding."""
    if predicted.shape != measured.shape or predicted.ndim != 2 or len(predicted) < 3 or not predicted.size:
        raise DataError(
            f"Predicted and measured changes of the same queries and at least 3 subsets are compared; given "
            f"{predicted.shape} and {measured.shape}."
        )
    if not (np.isfinite(predicted).all() and np.isfinite(measured).all()):
        raise DataError("A change that is not finite can't be compared; look for a model that did not train well.")
    x, y = (
        np.where(np.ptp(values, 0) > ROUNDING * np.abs(values).max(0), values - values.mean(0), 0)
        for values in (predicted, measured)
    )
    if not (x.any(0) & y.any(0)).any():
        raise DataError("All subsets have the same predicted, or the same measured change; nothing can be compared.")
    return x, y


def _pooled(drawn: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and R² of all queries together, [b] each."""
    return _line(*(moment.sum(1) for moment in _moments(drawn, x, y)))


def _each(drawn: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and R² of each query, [b, Q] each."""
    return _line(*_moments(drawn, x, y))


def _moments(drawn: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ x², Σ x y and Σ y² of each query, [b, Q], around the means of the subsets, each drawn so often, [b, S]."""
    total = drawn.sum(1, keepdims=True)
    u, v, xx, yy = drawn @ x, drawn @ y, drawn @ (x * x), drawn @ (y * y)
    spread, other = xx - u * u / total, yy - v * v / total
    return (
        np.where(spread > ROUNDING * xx, spread, 0),
        drawn @ (x * y) - u * v / total,
        np.where(other > ROUNDING * yy, other, 0),
    )


def _line(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope, NaN where x doesn't differ, and R², 0 there and NaN where y doesn't differ."""
    slope = np.divide(xy, xx, out=np.full(xx.shape, np.nan), where=xx > 0)
    share = np.divide(xy * np.nan_to_num(slope), yy, out=np.full(yy.shape, np.nan), where=yy > 0)
    return slope, share


def _over_queries(function: Callable[..., np.ndarray], values: np.ndarray) -> np.ndarray:
    """A function of each row [b, Q] that ignores NaN; NaN where the whole row is NaN."""
    results = np.full(len(values), np.nan)
    defined = ~np.isnan(values).all(1)
    results[defined] = function(values[defined], axis=1)
    return results


def bank_calibration(
    bank: Bank,
    stored: Sequence[StoredScores],
    pool: str = "test",
    kinds: Sequence[Kind] = KINDS,
    use: Use = Use.REPORTED,
) -> dict[Kind, dict[str, Calibration]]:
    """Return the calibration of each method on a pool, for each kind of query of which there are scores.

    Changes of the loss are measured from the mean of the reference models. For a deterministic pool, which repeats the
    run of the first reference model, they are measured from that model.

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
