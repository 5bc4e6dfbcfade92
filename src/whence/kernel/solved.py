"""A kernel at one damping: K = ΦᵀΦ + λI or ΦΦᵀ + λI, whichever is smaller, solved by its Cholesky factor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from whence.kernel.algebra import BLOCK, product


@dataclass(frozen=True, eq=False)
class Solved:
    """Scores, leverage and relative divisor at one λ; it costs a fiftieth of an eigendecomposition.

    Attributes:
        gram: ΦᵀΦ [p, p] if p ≤ N, else ΦΦᵀ [N, N]; float64.
        examples: Φ [N, p].
        queries: Φ_q [Q, p].
        strength: λ.

    Example:
        >>> features = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> Solved(product(features, features), features, torch.tensor([[1.0, 1.0]]), 7.0).scores()
        tensor([[0.1875, 0.1250]], dtype=torch.float64)
    """

    gram: Tensor
    examples: Tensor
    queries: Tensor
    strength: float

    @property
    def _primal(self) -> bool:
        return self.examples.shape[1] <= self.examples.shape[0]

    @cached_property
    def _factor(self) -> Tensor:
        """L with LLᵀ = K."""
        matrix = self.gram.clone()
        matrix.diagonal().add_(self.strength)
        factor: Tensor = torch.linalg.cholesky(matrix)
        return factor

    def scores(self) -> Tensor:
        """Φ_q(ΦᵀΦ + λI)⁻¹Φᵀ = Φ_qΦᵀ(ΦΦᵀ + λI)⁻¹, [Q, N]."""
        if not self._primal:
            return torch.cholesky_solve(product(self.examples.T, self.queries.T), self._factor).T
        solved = torch.cholesky_solve(self.queries.double().T, self._factor).T
        return torch.cat([solved @ rows.double().T for rows in torch.split(self.examples, BLOCK)], 1)

    def leverage(self) -> Tensor:
        """h_n = ‖L⁻¹φ_n‖², the diagonal of (ΦΦᵀ + λI)⁻¹ΦΦᵀ, [N]."""
        if not self._primal:
            return (self._inverse * self.gram).sum(1).clamp_min_(0)
        parts = (torch.linalg.solve_triangular(self._factor, rows, upper=False) for rows in self._columns())
        return torch.cat([part.square().sum(0) for part in parts])

    def relative(self) -> Tensor:
        """‖(ΦᵀΦ + λI)⁻¹φ_n‖ = ‖Φᵀ(ΦΦᵀ + λI)⁻¹e_n‖, [N]."""
        if not self._primal:
            blocks = torch.split(self._inverse, BLOCK, 1)
            return torch.cat([torch.linalg.vector_norm(product(self.examples, block), dim=0) for block in blocks])
        parts = (torch.cholesky_solve(rows, self._factor) for rows in self._columns())
        return torch.cat([torch.linalg.vector_norm(part, dim=0) for part in parts])

    def _columns(self) -> list[Tensor]:
        return [rows.double().T for rows in torch.split(self.examples, BLOCK)]

    @cached_property
    def _inverse(self) -> Tensor:
        """(ΦΦᵀ + λI)⁻¹ [N, N]."""
        return torch.cholesky_solve(torch.eye(len(self.gram), dtype=torch.float64), self._factor)
