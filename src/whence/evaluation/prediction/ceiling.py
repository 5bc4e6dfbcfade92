"""The most that any prediction can score, since the same subset trained with another seed has another loss."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from whence.statistics.statistic import Statistic as Statistic
from whence.statistics.uncertainty import Correlations, shifted

#: Pools whose models repeat the reference run, draw for draw, with weight 0 for what is removed.
DETERMINISTIC = "deterministic-"


def is_deterministic(pool: str) -> bool:
    """Return whether a pool, by its name, repeats the run itself, so that its losses have no seed noise: ceiling 1.

    Example:
        >>> is_deterministic("deterministic-10%"), is_deterministic("test")
        (True, False)
    """
    return pool.startswith(DETERMINISTIC)


def seed_agreement(losses: np.ndarray, counts: np.ndarray) -> Correlations | None:
    """Return how well the losses of one training seed rank the subsets as those of another do: r.

    Args:
        losses: Loss of each query under the model of each subset and seed, [S, K, Q].
        counts: Resamples of the subsets, [B, S].

    Returns:
        Spearman's correlations over subsets, of every query the mean over all pairs of seeds; None for one seed.

    Example:
        >>> from whence.statistics.uncertainty import resamples_of
        >>> subset, noise = np.random.default_rng(0).normal(size=(64, 1, 30)), np.random.default_rng(1)
        >>> found = seed_agreement(subset + noise.normal(size=(64, 3, 30)), resamples_of(64, seed=0))
        >>> round(found.mean.value, 1)  # half of the variance is the subset's
        0.5
    """
    pairs = [
        Correlations.measure(losses[:, k], losses[:, other], counts)
        for k, other in combinations(range(losses.shape[1]), 2)
    ]
    if not pairs:
        return None
    of_query = np.mean([pair.of_query for pair in pairs], axis=0)
    return Correlations(of_query, np.mean([pair.resampled for pair in pairs], axis=0))


def ceiling(correlation: np.ndarray | float, seeds: int) -> np.ndarray:
    """Return the correlation of a perfect prediction with the mean of K noisy measurements.

    It is sqrt(K r / (1 + (K - 1) r)). Let a measurement be truth plus noise of its seed, the truth having a share r of
    the variance. Two measurements then correlate at r. The mean of K has the variance r + (1 - r) / K, its covariance
    with the truth is r, and so is the variance of the truth: the correlation is r / sqrt(r (r + (1 - r) / K)). Its
    square is the reliability of K measurements (Spearman 1910; Brown 1910). It is exact for Pearson's correlation and
    close for ranks. The ceiling of the mean r over queries is at least the mean of their ceilings, since it is concave:
    no method is said to be closer to it than it is.

    Args:
        correlation: r, between two seeds; below 0 it counts as 0.
        seeds: K, the seeds whose mean is predicted.

    Returns:
        The ceiling, between 0 and 1, in the shape of the correlation.

    Example:
        >>> ceiling(0.68, 1).round(2).item(), ceiling(0.68, 3).round(2).item(), ceiling(-0.1, 3).item()
        (0.82, 0.93, 0.0)
    """
    r = np.maximum(correlation, 0.0)
    found: np.ndarray = np.sqrt(seeds * r / (1 + (seeds - 1) * r))
    return found


def ceiling_of(agreement: Correlations, seeds: int) -> Statistic:
    """Return the ceiling of the mean of K seeds with its interval over subsets.

    Example:
        >>> from whence.statistics.uncertainty import resamples_of
        >>> same = np.random.default_rng(0).normal(size=(20, 1, 5)).repeat(2, 1)
        >>> ceiling_of(seed_agreement(same, resamples_of(20, seed=0)), seeds=2).value
        1.0
    """
    found = ceiling(agreement.mean.value, seeds)
    return shifted(float(found), ceiling(agreement.resampled_mean, seeds), bounds=(0.0, 1.0))


def share_of_ceiling(lds: Correlations, agreement: Correlations, seeds: int) -> Statistic:
    """Return the mean LDS over the ceiling, with its interval; NaN where the ceiling is 0.

    Both are resampled together where they were measured with the same resamples.

    Example:
        >>> from whence.statistics.uncertainty import resamples_of
        >>> losses, counts = np.random.default_rng(0).normal(size=(20, 1, 5)).repeat(2, 1), resamples_of(20, seed=0)
        >>> found = Correlations.measure(losses[:, 0], losses[:, 1], counts)
        >>> share_of_ceiling(found, seed_agreement(losses, counts), seeds=2).value
        1.0
    """
    top, tops = ceiling(agreement.mean.value, seeds), ceiling(agreement.resampled_mean, seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        share, shares = lds.mean.value / top, lds.resampled_mean / tops
    value = float(share) if np.isfinite(share) else np.nan
    return shifted(value, np.where(np.isfinite(shares), shares, np.nan))
