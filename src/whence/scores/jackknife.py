"""Standard errors by leaving out groups of draws, and which scores rise above the noise of the draws.

With θ the scores from all draws and θ₍g₎ the scores without the draws of group g, of G = 8 groups,

    se² = (G - 1) / G · Σ_g (θ₍g₎ - θ̄)²,    θ̄ = mean of the θ₍g₎         (Efron & Stein 1981)

It covers the Monte Carlo error of drawing timesteps and noise anew, in queries, examples and kernel, and nothing of the
error of training the model anew. Score / error has about Student's t distribution with G - 1 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from whence.errors import ConfigError, DataError
from whence.lazy import special, torch
from whence.statistics.placebo_test import LEVEL, holm

if TYPE_CHECKING:
    from torch import Tensor

#: Number of groups of draws whose sums are kept apart.
GROUPS = 8


@dataclass
class Jackknife:
    """Scores that are summed over checkpoints, and the same scores without each group of draws.

    Example:
        >>> values = torch.arange(8.0)  # one draw in each group; the score is their mean
        >>> total = Jackknife.zeros(1, 1)
        >>> total.add(None, values.mean().reshape(1, 1).double())
        >>> for g in range(8):
        ...     total.add(g, values[torch.arange(8) != g].mean().reshape(1, 1).double())
        >>> round(total.standard_error().item(), 6) == round(float(values.std() / 8**0.5), 6)
        True
    """

    value: Tensor  # θ, float64 [Q, N]
    differences: Tensor  # θ₍g₎ - θ of every group [8, Q, N], float32 to halve what they take

    @classmethod
    def zeros(cls, queries: int, examples: int, groups: int = GROUPS) -> Jackknife:
        """Return the sum over no checkpoints; with 0 groups only the scores are summed."""
        return cls(torch.zeros(queries, examples, dtype=torch.float64), torch.zeros(groups, queries, examples))

    @classmethod
    def of(cls, scores: Tensor) -> Jackknife:
        """Return scores from all draws, float64 [Q, N], to which those without each group are added in float64."""
        return cls(scores, -scores.repeat(GROUPS, 1, 1))

    def add(self, without: int | None, scores: Tensor) -> None:
        """Add the scores of one checkpoint, float64 [Q, N]: from all draws first, then without each group."""
        if without is None:
            self.value += scores
            self.differences -= scores.to(self.differences)
        else:
            self.differences[without] += scores.to(self.differences)

    def deviations(self) -> Tensor:
        """Return (θ₍g₎ - θ̄) / se, float16 [8, Q, N]; 0 where se is 0."""
        error = self.standard_error().clamp_min(torch.finfo(torch.float32).tiny)
        return ((self.differences - self.differences.mean(0)) / error).half()

    def standard_error(self) -> Tensor:
        """Return the standard error [Q, N], in the precision of the differences."""
        return ((GROUPS - 1) * self.differences.var(0, correction=0)).sqrt()


def rising(
    scores: Tensor, standard_error: Tensor, groups: int = GROUPS, level: float = LEVEL, count: int | None = None
) -> Tensor:
    """Return which scores [Q, N] are too far from 0 for Monte Carlo noise alone, bool [Q, N].

    Two-sided chances are corrected for the N examples of a query (Holm 1979): if all true scores of a query are 0, the
    probability that any of them rises is at most the level. A score other than 0 without any error rises; a score of 0
    never does. Where these are some of the scores of `count` examples, the chances are corrected for all of them.

    Raises:
        DataError: The shapes differ.
        ConfigError: There are fewer than two groups.

    Example:
        >>> rising(torch.tensor([[9.0, -9.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])).tolist()
        [[True, True, False, False]]
    """
    if scores.shape != standard_error.shape or scores.ndim != 2:
        raise DataError(f"Scores {tuple(scores.shape)} need errors of the same shape, not {standard_error.shape}.")
    pairs = zip(scores, standard_error, strict=True)
    rows = [holm(chances(row, error, groups), count) <= level for row, error in pairs]
    return torch.stack(rows) if rows else torch.zeros(scores.shape, dtype=torch.bool)


def chances(scores: Tensor, standard_error: Tensor, groups: int = GROUPS) -> Tensor:
    """Return P(|t| ≥ |score| / error) for a true score of 0, float64 in the shape of the scores; not corrected."""
    far = (scores.double().abs() / standard_error.double()).nan_to_num(nan=0.0, posinf=torch.inf)
    return torch.from_numpy(2 * special.stdtr(_freedom(groups), -far.numpy()))


def half_width(standard_error: Tensor, groups: int = GROUPS, level: float = 0.9) -> Tensor:
    """Return how far an interval of one score reaches to each side, float64: 1.895 errors for 8 groups and 90%."""
    return interval_factor(groups, level) * standard_error.double()


def interval_factor(groups: int = GROUPS, level: float = 0.9) -> float:
    """Return how many standard errors an interval of one score reaches to each side."""
    return float(special.stdtrit(_freedom(groups), (1 + level) / 2))


def _freedom(groups: int) -> int:
    if groups < 2:
        raise ConfigError(f"Standard errors need at least 2 groups of draws, not {groups}.")
    return groups - 1
