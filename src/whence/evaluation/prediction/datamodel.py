"""Datamodels: a linear model of a query's loss as a function of which examples were trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import RidgeCV

from whence.errors import ConfigError
from whence.evaluation.prediction.empirical import require_measured

#: Penalties among which cross-validation chooses, query by query.
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)


def datamodel(kept: np.ndarray, losses: np.ndarray, alphas: Sequence[float] = ALPHAS) -> np.ndarray:
    """Return the datamodels' coefficients with the sign of scores, D_qn = -w_qn, float64 [Q, N].

        min over w, c of Σ_s (loss_sq - c - Σ_n w_n [n kept in s])² + α ‖w‖²

    α is chosen for each query among `alphas` by leaving out one subset at a time, which for ridge regression needs no
    refitting. With fewer subsets than examples the coefficients are shrunk, more where the losses are noisier.

    Sign: positive is proponent, training on n lowers the loss of q. Unit: that of the loss, shrunk.

    Source: Ilyas et al. 2022, "Datamodels: predicting predictions from training data" (arXiv 2202.00622), there with
    the lasso; with ridge regression as a baseline for diffusion models, Zheng et al. 2024 (D-TRAK, arXiv 2311.00500,
    with 5-fold cross-validation over 0.1, 1 and 10 and the opposite sign).

    Args:
        kept: Which examples each subset keeps, bool [S, N].
        losses: Of each query, after training on each subset, [S, Q].
        alphas: Penalties α to choose from.

    Raises:
        DataError: Shapes don't fit, or a loss is not finite.
        ConfigError: There is no penalty, or one is not positive.

    Example:
        >>> kept = np.random.default_rng(0).random((40, 3)) < 0.5
        >>> losses = 7 - kept @ np.array([[3.0], [2.0], [0.0]])  # examples 0 and 1 lower it by 3 and by 2
        >>> datamodel(kept, losses, [1e-6]).round(3).tolist()
        [[3.0, 2.0, 0.0]]
    """
    require_measured(kept, losses)
    if not len(alphas) or not all(alpha > 0 for alpha in alphas):
        raise ConfigError(f"Penalties are positive numbers, at least one; given {list(alphas)}.")
    fitted = RidgeCV(list(alphas), alpha_per_target=True).fit(kept.astype(np.float64), losses.astype(np.float64))
    found: np.ndarray = -np.atleast_2d(fitted.coef_)
    return found
