"""The kernel of the gradient methods: one matrix gives every method at every damping.

With examples Φ [N, p], queries Φ_q [Q, p], K = ΦᵀΦ + λI and λ = c · tr(ΦᵀΦ) / min(N, p), or another multiple of c:

    scores     S_qn = φ_qᵀ K⁻¹ φ_n
    leverage   h_n  = φ_nᵀ K⁻¹ φ_n
    relative   ‖K⁻¹ φ_n‖

The first damping is solved by a Cholesky factor (`Solution`); a second one is worth the eigendecomposition that serves
all dampings (`Decomposition`). Both are of ΦᵀΦ [p, p] if p ≤ N, else of ΦΦᵀ [N, N]. Scores of a block of the examples
need no other example than by ΦᵀΦ (`Moments`), so all of them are never needed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from whence.errors import ConfigError
from whence.kernel.algebra import BLOCK, norms, product, rotated, weighted
from whence.kernel.moments import Moments
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Scores, leverage and relative divisor at every λ, as sums over the r eigenvalues that are not 0.

    V [p, r] is an orthogonal basis of the features' span in which ΦᵀΦ is diag(Λ), A = ΦV, B = Φ_qV, and
    S = B diag(1/(Λ + λ)) Aᵀ. If p ≤ N, V comes from ΦᵀΦ = VΛVᵀ; otherwise from ΦΦᵀ = UΛUᵀ, with A = U√Λ and
    B = Φ_qΦᵀU/√Λ, and V is never formed.
    """

    eigenvalues: Tensor  # Λ [r], in ascending order
    examples: Tensor  # A [N, r]
    queries: Tensor  # B [Q, r]

    @classmethod
    def of(cls, moments: Moments, examples: Tensor, queries: Tensor) -> Decomposition:
        """Return the decomposition for features Φ [N, p], or a block of them, and Φ_q [Q, p]."""
        values, basis = moments.eigen
        if moments.primal:
            return cls(values, rotated(examples, basis), rotated(queries, basis))
        basis = basis.masked_fill((moments.gram.diagonal() == 0)[:, None], 0)
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


@dataclass(frozen=True, eq=False)
class Solution:
    """Scores, leverage and relative divisor at one λ; it costs a fiftieth of an eigendecomposition."""

    moments: Moments
    factor: Tensor  # L with LLᵀ = K, or ΦΦᵀ + λI
    examples: Tensor  # Φ [N, p]
    queries: Tensor  # Φ_q [Q, p]

    def scores(self) -> Tensor:
        """Φ_q(ΦᵀΦ + λI)⁻¹Φᵀ = Φ_qΦᵀ(ΦΦᵀ + λI)⁻¹, [Q, N]."""
        if not self.moments.primal:
            return torch.cholesky_solve(product(self.examples.T, self.queries.T), self.factor).T
        solved = torch.cholesky_solve(self.queries.double().T, self.factor).T
        return torch.cat([solved @ rows.double().T for rows in torch.split(self.examples, BLOCK)], 1)

    def leverage(self) -> Tensor:
        """h_n = ‖L⁻¹φ_n‖², the diagonal of (ΦΦᵀ + λI)⁻¹ΦΦᵀ, [N]."""
        if not self.moments.primal:
            return (self._inverse * self.moments.gram).sum(1).clamp_min_(0)
        parts = (torch.linalg.solve_triangular(self.factor, rows, upper=False) for rows in self._columns())
        return torch.cat([part.square().sum(0) for part in parts])

    def relative(self) -> Tensor:
        """‖(ΦᵀΦ + λI)⁻¹φ_n‖ = ‖Φᵀ(ΦΦᵀ + λI)⁻¹e_n‖, [N]."""
        if not self.moments.primal:
            blocks = torch.split(self._inverse, BLOCK, 1)
            return torch.cat([torch.linalg.vector_norm(product(self.examples, block), dim=0) for block in blocks])
        parts = (torch.cholesky_solve(rows, self.factor) for rows in self._columns())
        return torch.cat([torch.linalg.vector_norm(part, dim=0) for part in parts])

    def _columns(self) -> list[Tensor]:
        return [rows.double().T for rows in torch.split(self.examples, BLOCK)]

    @cached_property
    def _inverse(self) -> Tensor:
        """(ΦΦᵀ + λI)⁻¹ [N, N]."""
        return torch.cholesky_solve(torch.eye(len(self.factor), dtype=torch.float64), self.factor)


class Kernel:
    """Scores, leverage and relative divisor of N examples for Q queries, at every damping; all float64.

    Memory is that of the square of the smaller of N and p, a few [Q, N] and, from the second damping on, copies of the
    features in float64. Rounding errors stay below about 1e-15 Λ_max / λ of the largest value, or 1e-6 where p > N for
    `relative`.

    `examples` are Φ [N, p], usually float32, and `queries` Φ_q [Q, p]; `norms` are ‖φ_n‖ [N]. With `weights` w [N],
    all above 0, ΦᵀΦ is Φᵀ diag(w) Φ, as if example n were there w_n times; the values are those of one copy. `unit` is
    λ at the damping 1; None for the mean eigenvalue. With `moments` of all examples, in which weights count already,
    `examples` may be a block of them, and no weights are given.

    Raises:
        ConfigError: There are no examples or no features, or queries have another width than examples; or a weight is
            not above 0.
        NotFiniteError: A feature is not finite.

    Example:
        >>> kernel = Kernel(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> kernel.absolute(1.4)  # 1.4 times the mean of the eigenvalues 9 and 1
        7.0
        >>> kernel.scores(1.4)  # 3/(9 + 7), 1/(1 + 7)
        tensor([[0.1875, 0.1250]], dtype=torch.float64)
        >>> kernel.leverage(1.4), kernel.relative(1.4)  # 9/(9 + 7), 1/(1 + 7); 3/(9 + 7), 1/(1 + 7)
        (tensor([0.5625, 0.1250], dtype=torch.float64), tensor([0.1875, 0.1250], dtype=torch.float64))
    """

    def __init__(
        self,
        examples: Tensor,
        queries: Tensor,
        weights: Tensor | None = None,
        unit: float | None = None,
        moments: Moments | None = None,
    ) -> None:
        self.norms, _ = norms(examples, queries)
        if weights is not None and not (weights.shape == self.norms.shape and (weights > 0).all()):
            raise ConfigError(f"The kernel of {len(self.norms)} examples needs a weight above 0 for each.")
        self._root = None if weights is None else weights.double().sqrt()
        self._features = weighted(examples, weights), queries
        self._unit = unit
        self._moments = moments or Moments.of(self._features[0])
        self._solution: Solution | None = None
        self._last: tuple[float, Tensor] | None = None

    @cached_property
    def _decomposed(self) -> Decomposition:
        return Decomposition.of(self._moments, *self._features)

    @property
    def eigenvalues(self) -> Tensor:
        """Λ [r]: the eigenvalues of ΦᵀΦ that are not 0, in ascending order."""
        return self._moments.eigen[0]

    def absolute(self, damping: float) -> float:
        """Return λ = c · unit, by default c · tr(ΦᵀΦ) / min(N, p); λ = c if that is 0.

        Raises:
            ConfigError: The damping c is not a positive number, or λ is so small that rounding errors would take over.
        """
        return self._moments.strength(damping, self._unit)

    def scores(self, damping: float) -> Tensor:
        """S = Φ_q(ΦᵀΦ + λI)⁻¹Φᵀ [Q, N], in a new tensor; at the damping of the last call it costs a copy."""
        if self._last is None or self._last[0] != damping:
            strength, solved = self.absolute(damping), self._at(damping)
            scores = solved.scores() if solved else self._decomposed.scores(strength)
            self._last = damping, scores if self._root is None else scores.div_(self._root)
        return self._last[1].clone()

    def leverage(self, damping: float) -> Tensor:
        """h_n = φ_nᵀ(ΦᵀΦ + λI)⁻¹φ_n [N], from 0 to below 1: how far example n determines its own fit."""
        strength, solved = self.absolute(damping), self._at(damping)
        leverage = solved.leverage() if solved else self._decomposed.leverage(strength)
        return leverage if self._root is None else leverage / self._root.square()

    def relative(self, damping: float) -> Tensor:
        """‖(ΦᵀΦ + λI)⁻¹φ_n‖ [N]: how far the parameters move with the weight of example n."""
        strength, solved = self.absolute(damping), self._at(damping)
        relative = solved.relative() if solved else self._decomposed.relative(strength)
        return relative if self._root is None else relative / self._root

    def _at(self, damping: float) -> Solution | None:
        """The solution at the first damping; None where the eigendecomposition is to be used."""
        factor = self._moments.factor(self.absolute(damping))
        if factor is None:
            return None
        if self._solution is None or self._solution.factor is not factor:
            self._solution = Solution(self._moments, factor, *self._features)
        return self._solution
