"""The kernel of the gradient methods: one matrix gives every method at every damping.

With examples Φ [N, p], queries Φ_q [Q, p], K = ΦᵀΦ + λI and λ = c · tr(ΦᵀΦ) / min(N, p):

    scores     S_qn = φ_qᵀ K⁻¹ φ_n
    leverage   h_n  = φ_nᵀ K⁻¹ φ_n
    relative   ‖K⁻¹ φ_n‖

At the first damping it is solved (`solved.py`); a second one is worth the eigendecomposition that serves all dampings
(`decomposed.py`).
"""

from __future__ import annotations

import math
from functools import cached_property

from torch import Tensor

from whence.errors import ConfigError
from whence.kernel.algebra import norms, product
from whence.kernel.decomposed import Decomposed
from whence.kernel.solved import Solved

#: λ below this share of the norm of the matrix would be lost in rounding errors.
SMALLEST = 1e-13
#: λ below this share of the norm is left to the eigendecomposition.
SOLVABLE = 1e-9


class Kernel:
    """Scores, leverage and relative divisor of N examples for Q queries, at every damping; all float64.

    Memory is that of the square of the smaller of N and p, a few [Q, N] and, from the second damping on, copies of the
    features in float64. Rounding errors stay below about 1e-15 Λ_max / λ of the largest value, or 1e-6 where p > N for
    `relative`.

    Attributes:
        norms: ‖φ_n‖ of every example [N].

    Args:
        examples: Φ [N, p], usually float32.
        queries: Φ_q [Q, p].

    Raises:
        ConfigError: There are no examples or no features, or queries have another width than examples.
        NotFiniteError: A feature is not finite.

    Example:
        >>> import torch
        >>> kernel = Kernel(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> kernel.absolute(1.4)  # 1.4 times the mean of the eigenvalues 9 and 1
        7.0
        >>> kernel.scores(1.4)  # 3/(9 + 7), 1/(1 + 7)
        tensor([[0.1875, 0.1250]], dtype=torch.float64)
        >>> kernel.leverage(1.4), kernel.relative(1.4)  # 9/(9 + 7), 1/(1 + 7); 3/(9 + 7), 1/(1 + 7)
        (tensor([0.5625, 0.1250], dtype=torch.float64), tensor([0.1875, 0.1250], dtype=torch.float64))
    """

    def __init__(self, examples: Tensor, queries: Tensor) -> None:
        self.norms, _ = norms(examples, queries)
        self._features = examples, queries
        self._solved: tuple[float, Solved] | None = None
        self._last: tuple[float, Tensor] | None = None

    @cached_property
    def _gram(self) -> Tensor:
        """ΦᵀΦ [p, p] if p ≤ N, else ΦΦᵀ [N, N]."""
        examples, _ = self._features
        small = examples if examples.shape[1] <= examples.shape[0] else examples.T
        return product(small, small)

    @cached_property
    def _norm(self) -> float:
        """The Frobenius norm of ΦᵀΦ, at least its largest eigenvalue."""
        return float(self._gram.norm())

    @cached_property
    def _decomposed(self) -> Decomposed:
        return Decomposed.of(self._gram, *self._features)

    @property
    def eigenvalues(self) -> Tensor:
        """Λ [r]: the eigenvalues of ΦᵀΦ that are not 0, in ascending order."""
        return self._decomposed.eigenvalues

    def absolute(self, damping: float) -> float:
        """Return λ = c · tr(ΦᵀΦ) / min(N, p); λ = c if all features are 0.

        Raises:
            ConfigError: The damping c is not a positive number, or λ is so small that rounding errors would take over.
        """
        if not (math.isfinite(damping) and damping > 0):
            raise ConfigError(f"damping is {damping}; it must be a finite number above 0.")
        unit = self.norms.square().sum().item() / min(self._features[0].shape) or 1.0
        smallest = SMALLEST * self._norm / unit
        if damping < smallest:
            raise ConfigError(
                f"damping is {damping:g}, but one direction of these features is so much stronger than the others that "
                f"rounding errors take over below {smallest:.1g}; use more."
            )
        return damping * unit

    def scores(self, damping: float) -> Tensor:
        """S = Φ_q(ΦᵀΦ + λI)⁻¹Φᵀ [Q, N], in a new tensor; at the damping of the last call it costs a copy."""
        if self._last is None or self._last[0] != damping:
            strength, solved = self.absolute(damping), self._at(damping)
            self._last = damping, solved.scores() if solved else self._decomposed.scores(strength)
        return self._last[1].clone()

    def leverage(self, damping: float) -> Tensor:
        """h_n = φ_nᵀ(ΦᵀΦ + λI)⁻¹φ_n [N], from 0 to below 1: how far example n determines its own fit."""
        strength, solved = self.absolute(damping), self._at(damping)
        return solved.leverage() if solved else self._decomposed.leverage(strength)

    def relative(self, damping: float) -> Tensor:
        """‖(ΦᵀΦ + λI)⁻¹φ_n‖ [N]: how far the parameters move with the weight of example n."""
        strength, solved = self.absolute(damping), self._at(damping)
        return solved.relative() if solved else self._decomposed.relative(strength)

    def _at(self, damping: float) -> Solved | None:
        """The solution at the first damping; None where the eigendecomposition is to be used."""
        strength = self.absolute(damping)
        if self._solved is None and strength >= SOLVABLE * self._norm:
            self._solved = damping, Solved(self._gram, *self._features, strength)
        return self._solved[1] if self._solved and self._solved[0] == damping else None
