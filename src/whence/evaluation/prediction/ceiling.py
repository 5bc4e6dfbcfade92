"""The ceiling of linear datamodeling scores: a subset trained with another seed has another loss."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from whence.evaluation.bank.pool import Pool
from whence.statistics.correlations import Correlations, shifted_interval
from whence.statistics.ranks import resampled_spearman_pairs, spearman_columns
from whence.statistics.statistic import Interval, Statistic

#: How names of pools begin whose models repeat the reference run, draw for draw, with weight 0 for removed examples.
DETERMINISTIC = "deterministic-"


def is_deterministic(pool: str) -> bool:
    """Return whether a pool, by its name, repeats the run itself, so that its losses have no seed noise: ceiling 1."""
    return pool.startswith(DETERMINISTIC)


def seed_agreement(losses: np.ndarray, counts: np.ndarray) -> Correlations | None:
    """Return r: the rank correlation of losses [S, K, Q] over subsets, mean over pairs of seeds; None for one seed."""
    seeds = [losses[:, k] for k in range(losses.shape[1])]
    if len(seeds) < 2:
        return None
    of_query = np.mean([spearman_columns(one, other) for one, other in combinations(seeds, 2)], axis=0)
    return Correlations(of_query, resampled_spearman_pairs(seeds, counts).mean(0))


def ceiling(correlation: np.ndarray | float, seeds: int) -> np.ndarray:
    """Return the correlation of a perfect prediction with the mean of K noisy measurements, from 0 to 1.

    It is sqrt(K r / (1 + (K - 1) r)), r being the correlation of two seeds; below 0 that counts as 0. Let a measurement
    be truth plus noise of its seed, the truth having a share r of the variance. Two measurements then correlate at r.
    The mean of K has the variance r + (1 - r) / K, its covariance with the truth is r, and so is the variance of the
    truth: the correlation is r / sqrt(r (r + (1 - r) / K)). Its square is the reliability of K measurements (Spearman
    1910; Brown 1910). It is exact for Pearson's correlation and close for ranks. The ceiling of the mean r over queries
    is at least the mean of their ceilings, since it is concave: so no method seems closer to its ceiling than it is.

    Example:
        >>> ceiling(0.68, 1).round(2).item(), ceiling(0.68, 3).round(2).item(), ceiling(-0.1, 3).item()
        (0.82, 0.93, 0.0)
    """
    r = np.maximum(correlation, 0.0)
    correlations: np.ndarray = np.sqrt(seeds * r / (1 + (seeds - 1) * r))
    return correlations


def ceiling_of(agreement: Correlations, seeds: int) -> Statistic:
    """Return the ceiling of the mean of K seeds with its interval over subsets."""
    value = float(ceiling(agreement.mean.value, seeds))
    return shifted_interval(value, ceiling(agreement.resampled_mean, seeds), bounds=(0.0, 1.0))


def share_of_ceiling(lds: Correlations, agreement: Correlations, seeds: int) -> Statistic:
    """Return the mean LDS over the ceiling, resampled together, with its interval; NaN where the ceiling is 0."""
    top, tops = ceiling(agreement.mean.value, seeds), ceiling(agreement.resampled_mean, seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        share, shares = lds.mean.value / top, lds.resampled_mean / tops
    value = float(share) if np.isfinite(share) else np.nan
    return shifted_interval(value, np.where(np.isfinite(shares), shares, np.nan))


def pool_ceiling(pool: Pool, seeds: Correlations | None) -> Statistic | None:
    """Return the ceiling of a pool, if the agreement of seeds is known; 1 where runs are repeated to the last bit."""
    if is_deterministic(pool.name):
        return Statistic(1.0, Interval(1.0, 1.0, 0.95, 0, 0), 0.0)
    return None if seeds is None else ceiling_of(seeds, len(pool.seeds))


def pool_share(pool: Pool, lds: Correlations, seeds: Correlations | None) -> Statistic | None:
    """Return the share of the ceiling of a pool, if that is known."""
    if is_deterministic(pool.name):
        return lds.mean
    return None if seeds is None else share_of_ceiling(lds, seeds, len(pool.seeds))


def noise_pool(pools: Mapping[str, Pool], name: str) -> Pool | None:
    """Return the pool whose training seeds show the noise in a pool: itself, or one whose subsets are as large.

    None where there is no such pool, and for a deterministic pool, in which seeds add no noise.
    """
    if is_deterministic(name):
        return None
    sizes = set(pools[name].kept.sum(1).tolist())
    for pool in (pools[name], *pools.values()):
        alike = not is_deterministic(pool.name) and set(pool.kept.sum(1).tolist()) == sizes
        if alike and len(pool.seeds) > 1:
            return pool
    return None
