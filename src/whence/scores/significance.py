"""What rises above Monte Carlo noise: scores against the standard errors of their draws.

A standard error is the delete-one-group jackknife's over a few groups of draws, so score / error has about Student's t
distribution with one degree of freedom less than there are groups. It knows the error of drawing timesteps and noise
anew, and nothing of the error of training the model anew.
"""

from __future__ import annotations

import torch
from scipy.stats import t as student
from torch import Tensor

from whence.errors import ConfigError, DataError
from whence.scores.jackknife import GROUPS
from whence.statistics.placebo_test import LEVEL, holm


def rising(scores: Tensor, standard_error: Tensor, groups: int = GROUPS, level: float = LEVEL) -> Tensor:
    """Return which scores are too far from 0 for Monte Carlo noise alone, bool [Q, N].

    Two-sided chances P(|t| ≥ |score| / error) with groups - 1 degrees of freedom, corrected for the N examples of a
    query (Holm 1979): if all true scores of a query are 0, the probability that any of them rises is at most the level.
    A score other than 0 without any error rises; a score of 0 never does.

    Args:
        scores: Scores [Q, N].
        standard_error: Their standard errors [Q, N].
        groups: Groups of draws behind an error.
        level: Family-wise error for each query.

    Raises:
        DataError: The shapes differ.
        ConfigError: There are fewer than two groups.

    Example:
        >>> rising(torch.tensor([[9.0, -9.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])).tolist()
        [[True, True, False, False]]
    """
    if scores.shape != standard_error.shape or scores.ndim != 2:
        raise DataError(f"Scores {tuple(scores.shape)} need errors of the same shape, not {standard_error.shape}.")
    rows = [holm(chances(row, error, groups)) <= level for row, error in zip(scores, standard_error, strict=True)]
    return torch.stack(rows) if rows else torch.zeros(scores.shape, dtype=torch.bool)


def chances(scores: Tensor, standard_error: Tensor, groups: int = GROUPS) -> Tensor:
    """Return P(|t| ≥ |score| / error) for a true score of 0, float64 in the shape of the scores; not corrected.

    Raises:
        ConfigError: There are fewer than two groups.
    """
    far = (scores.double().abs() / standard_error.double()).nan_to_num(nan=0.0, posinf=torch.inf)
    return torch.from_numpy(2 * student.sf(far.numpy(), _freedom(groups)))


def half_width(standard_error: Tensor, groups: int = GROUPS, level: float = 0.9) -> Tensor:
    """Return how far an interval of one score reaches to each side, float64: 1.895 errors for 8 groups and 90%.

    Raises:
        ConfigError: There are fewer than two groups.

    Example:
        >>> round(half_width(torch.tensor([1.0])).item(), 3)
        1.895
    """
    return float(student.ppf((1 + level) / 2, _freedom(groups))) * standard_error.double()


def _freedom(groups: int) -> int:
    if groups < 2:
        raise ConfigError(f"Standard errors need at least 2 groups of draws, not {groups}.")
    return groups - 1
