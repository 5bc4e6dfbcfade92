"""Standard errors by leaving out groups of draws.

With θ the scores from all draws and θ₍g₎ the scores without the draws of group g, of G = 8 groups,

    se² = (G - 1) / G · Σ_g (θ₍g₎ - θ̄)²,    θ̄ = mean of the θ₍g₎         (Efron & Stein 1981)

It covers the Monte Carlo error of the draws, in queries, examples and kernel. It doesn't cover the error of training
anew.
With 8 groups an interval uses Student's t with 7 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Number of groups of draws whose sums are kept apart.
GROUPS = 8


@dataclass
class Jackknife:
    """Scores that are summed over checkpoints, and the same scores without each group of draws.

    Attributes:
        value: θ, float64 [Q, N].
        differences: θ₍g₎ - θ of every group, float32 [8, Q, N].

    Example:
        >>> values = torch.arange(8.0)  # one draw in each group; the score is their mean
        >>> total = Jackknife.zeros(1, 1)
        >>> total.add(None, values.mean().reshape(1, 1).double())
        >>> for g in range(8):
        ...     total.add(g, values[torch.arange(8) != g].mean().reshape(1, 1).double())
        >>> round(total.standard_error().item(), 6) == round(float(values.std() / 8**0.5), 6)
        True
    """

    value: Tensor
    differences: Tensor

    @classmethod
    def zeros(cls, queries: int, examples: int, groups: int = GROUPS) -> Jackknife:
        """Return the sum over no checkpoints; with 0 groups only the scores are summed."""
        return cls(torch.zeros(queries, examples, dtype=torch.float64), torch.zeros(groups, queries, examples))

    def add(self, without: int | None, scores: Tensor) -> None:
        """Add the scores of one checkpoint, float64 [Q, N]: from all draws first, then without each group."""
        if without is None:
            self.value += scores
            self.differences -= scores.float()
        else:
            self.differences[without] += scores.float()

    def deviations(self) -> Tensor:
        """Return (θ₍g₎ - θ̄) / se, float16 [8, Q, N]; 0 where se is 0."""
        error = self.standard_error().clamp_min(torch.finfo(torch.float32).tiny)
        return ((self.differences - self.differences.mean(0)) / error).half()

    def standard_error(self) -> Tensor:
        """Return the standard error, float32 [Q, N]."""
        return ((GROUPS - 1) * self.differences.var(0, correction=0)).sqrt()
