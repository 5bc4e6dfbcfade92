"""A kernel at every damping: one eigendecomposition of ΦᵀΦ or ΦΦᵀ, whichever is smaller.

An orthogonal basis V [p, r] of the features' span in which ΦᵀΦ is diag(Λ) turns everything into sums over r numbers:
with A = ΦV [N, r] and B = Φ_qV [Q, r], S = B diag(1/(Λ + λ)) Aᵀ. If p ≤ N, V comes from ΦᵀΦ = VΛVᵀ; otherwise
from ΦΦᵀ = UΛUᵀ, with A = U√Λ and B = Φ_qΦᵀU/√Λ, and V is never formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from whence.kernel.algebra import BLOCK, product, rotated

#: Eigenvalues below this share of the largest one are rounding errors of 0.
ZERO = 1e-14


@dataclass(frozen=True, eq=False)
class Decomposed:
    """Scores, leverage and relative divisor at every λ.

    Attributes:
        eigenvalues: Λ [r], those that are not 0, in ascending order.
        examples: A [N, r].
        queries: B [Q, r].
    """

    eigenvalues: Tensor
    examples: Tensor
    queries: Tensor

    @classmethod
    def of(cls, gram: Tensor, examples: Tensor, queries: Tensor) -> Decomposed:
        """Decompose ΦᵀΦ [p, p] if p ≤ N, else ΦΦᵀ [N, N], of features Φ [N, p] and Φ_q [Q, p]."""
        values, basis = torch.linalg.eigh(gram)
        above = int((values <= ZERO * values[-1]).sum())
        values, basis = values[above:], basis[:, above:]
        if examples.shape[1] <= examples.shape[0]:
            return cls(values, rotated(examples, basis), rotated(queries, basis))
        basis[gram.diagonal() == 0] = 0
        root = values.sqrt()
        return cls(values, basis * root, product(queries.T, examples.T) @ basis / root)

    def scores(self, strength: float) -> Tensor:
        """B diag(1/(Λ + λ)) Aᵀ [Q, N]."""
        return self.queries / (self.eigenvalues + strength) @ self.examples.T

    def leverage(self, strength: float) -> Tensor:
        """h_n = Σ_r A_nr² / (Λ_r + λ), [N]."""
        return self._quadratic(1 / (strength + self.eigenvalues))

    def relative(self, strength: float) -> Tensor:
        """√(Σ_r A_nr² / (Λ_r + λ)²), [N]."""
        return self._quadratic((strength + self.eigenvalues).pow(-2)).sqrt()

    def _quadratic(self, weights: Tensor) -> Tensor:
        return torch.cat([rows.square() @ weights for rows in torch.split(self.examples, BLOCK)])
