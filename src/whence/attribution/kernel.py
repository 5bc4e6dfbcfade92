"""The kernel of the gradient methods: one eigendecomposition gives every method at every damping.

With examples Φ [N, p], queries Φ_q [Q, p], K = ΦᵀΦ + λI and λ = c · tr(ΦᵀΦ) / min(N, p):

    scores     S_qn = φ_qᵀ K⁻¹ φ_n
    leverage   h_n  = φ_nᵀ K⁻¹ φ_n
    relative   ‖K⁻¹ φ_n‖

An orthogonal basis V [p, r] of the features' span in which ΦᵀΦ is diag(Λ) turns all of it into sums over r numbers:
with A = ΦV [N, r] and B = Φ_qV [Q, r], S = B diag(1/(Λ + λ)) Aᵀ. If p ≤ N, V comes from ΦᵀΦ = VΛVᵀ; otherwise
from ΦΦᵀ = UΛUᵀ, with A = U√Λ and B = Φ_qΦᵀU/√Λ, and V is never formed.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from whence.attribution.algebra import BLOCK, norms, product, rotated
from whence.errors import ConfigError

#: Eigenvalues below this share of the largest one are rounding errors of 0.
ZERO = 1e-14
#: λ below this share of the largest eigenvalue would be lost in rounding errors.
SMALLEST = 1e-13


class Kernel:
    """Scores, leverage and relative divisor of N examples for Q queries, at every damping; all float64.

    Memory is that of A and B in float64, N r + Q r numbers, the square of the smaller of N and p, and one [Q, N].
    Rounding errors stay below about 1e-15 Λ_max / λ of the largest value, or 1e-6 where p > N for `relative`.

    Attributes:
        norms: ‖φ_n‖ of every example [N].

    Args:
        examples: Φ [N, p], usually float32.
        queries: Φ_q [Q, p].

    Raises:
        ConfigError: There are no examples or no features, or queries have another width than examples.
        NotFiniteError: A feature is not finite.

    Example:
        >>> kernel = Kernel(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> kernel.absolute(1.4)  # 1.4 times the mean of the eigenvalues 9 and 1
        7.0
        >>> kernel.scores(1.4).tolist()  # 3/(9 + 7), 1/(1 + 7)
        [[0.1875, 0.125]]
        >>> kernel.leverage(1.4).tolist(), kernel.relative(1.4).tolist()  # 9/(9 + 7), 1/(1 + 7); 3/(9 + 7), 1/(1 + 7)
        ([0.5625, 0.125], [0.1875, 0.125])
    """

    def __init__(self, examples: Tensor, queries: Tensor) -> None:
        self.norms, _ = norms(examples, queries)
        self._features = examples, queries
        self._last: tuple[float, Tensor] | None = None

    @cached_property
    def _whitened(self) -> tuple[Tensor, Tensor, Tensor]:
        """Λ [r] in ascending order, A [N, r], B [Q, r]."""
        examples, queries = self._features
        if examples.shape[1] <= examples.shape[0]:
            values, basis = _positive(product(examples, examples))
            return values, rotated(examples, basis), rotated(queries, basis)
        values, basis = _positive(product(examples.T, examples.T))
        basis[self.norms == 0] = 0
        root = values.sqrt()
        return values, basis * root, product(queries.T, examples.T) @ basis / root

    @property
    def eigenvalues(self) -> Tensor:
        """Λ [r]: the eigenvalues of ΦᵀΦ that are not 0, in ascending order."""
        return self._whitened[0]

    def absolute(self, damping: float) -> float:
        """Return λ = c · tr(ΦᵀΦ) / min(N, p); λ = c if all features are 0.

        Raises:
            ConfigError: The damping c is not a positive number, or λ is so small that rounding errors would take over.
        """
        if not (math.isfinite(damping) and damping > 0):
            raise ConfigError(f"damping is {damping}; it must be a finite number above 0.")
        unit = self.norms.square().sum().item() / min(self._features[0].shape) or 1.0
        smallest = SMALLEST * max(self.eigenvalues.tolist(), default=0.0) / unit
        if damping < smallest:
            raise ConfigError(
                f"damping is {damping:g}, but one direction of these features is so much stronger than the others that "
                f"rounding errors take over below {smallest:.1g}; use more."
            )
        return damping * unit

    def scores(self, damping: float) -> Tensor:
        """S = Φ_q(ΦᵀΦ + λI)⁻¹Φᵀ [Q, N], in a new tensor; at the damping of the last call it costs a copy."""
        if self._last is None or self._last[0] != damping:
            strength = self.absolute(damping)
            values, examples, queries = self._whitened
            self._last = damping, queries / (values + strength) @ examples.T
        return self._last[1].clone()

    def leverage(self, damping: float) -> Tensor:
        """h_n = φ_nᵀ(ΦᵀΦ + λI)⁻¹φ_n [N], from 0 to below 1: how far example n determines its own fit."""
        return self._quadratic(1 / (self.absolute(damping) + self.eigenvalues))

    def relative(self, damping: float) -> Tensor:
        """‖(ΦᵀΦ + λI)⁻¹φ_n‖ [N]: how far the parameters move with the weight of example n."""
        return self._quadratic((self.absolute(damping) + self.eigenvalues).pow(-2)).sqrt()

    def _quadratic(self, weights: Tensor) -> Tensor:
        """Σ_r A_nr² w_r [N]."""
        return torch.cat([rows.square() @ weights for rows in torch.split(self._whitened[1], BLOCK)])


def _positive(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues above 0 and their eigenvectors."""
    values, vectors = torch.linalg.eigh(gram)
    above = int((values <= ZERO * values[-1]).sum())
    return values[above:], vectors[:, above:]
