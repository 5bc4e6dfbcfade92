"""What the kernel of the gradient methods needs of all N examples: their Gram matrix, and what is solved with it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Self

from whence.errors import ConfigError
from whence.kernel.algebra import product
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

#: λ below this share of the norm of the matrix would be lost in rounding errors.
SMALLEST = 1e-13
#: λ below this share of the norm is left to the eigendecomposition.
SOLVABLE = 1e-9
#: Eigenvalues below this share of the largest one are rounding errors of 0.
ZERO = 1e-14


class Moments:
    """The Gram matrix of the features Φ [N, p] of all examples, and its factors, which all blocks of examples share.

    With weights w of the examples ΦᵀΦ stands for Φᵀ diag(w) Φ.

    Attributes:
        gram: ΦᵀΦ [p, p], or ΦΦᵀ [N, N] where `primal` is False; float64.
        count: N.
        width: p.
        primal: Whether the matrix is ΦᵀΦ, from which the scores of a part of the examples can be computed.

    Example:
        >>> moments = Moments.of(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        >>> moments.mean_eigenvalue, moments.factor(7.0).diagonal().tolist()  # (9 + 1) / 2; √(9 + 7), √(1 + 7)
        (5.0, [4.0, 2.8284271247461903])
        >>> moments.factor(8.0) is None  # a second λ is left to the eigendecomposition
        True
    """

    def __init__(self, gram: Tensor, count: int, width: int, *, primal: bool = True) -> None:
        self.gram, self.count, self.width, self.primal = gram, count, width, primal
        self._solved: tuple[float, Tensor] | None = None

    @classmethod
    def of(cls, examples: Tensor, population: int | None = None) -> Self:
        """Return the matrix of the smaller side of all examples [N, p]: ΦᵀΦ if p ≤ N, else ΦΦᵀ.

        `population` is the number of examples that these stand for, if it is not their own.
        """
        count, width = examples.shape
        small = examples if width <= count else examples.T
        return cls(product(small, small), population or count, width, primal=width <= count)

    @classmethod
    def zeros(cls, width: int) -> Self:
        """Return ΦᵀΦ of no examples, to which blocks of them are added."""
        return cls(torch.zeros(width, width, dtype=torch.float64), 0, width)

    def add(self, examples: Tensor) -> None:
        """Add a block of examples [n, p], before anything is solved."""
        self.gram += product(examples, examples)
        self.count += len(examples)

    @cached_property
    def norm(self) -> float:
        """The Frobenius norm of ΦᵀΦ, at least its largest eigenvalue."""
        return float(self.gram.norm())

    @cached_property
    def mean_eigenvalue(self) -> float:
        """tr(ΦᵀΦ) / min(N, p)."""
        return float(self.gram.trace()) / min(self.count, self.width)

    def strength(self, damping: float, unit: float | None = None) -> float:
        """Return λ = c · unit of a damping c, by default c · tr(ΦᵀΦ) / min(N, p); c if that is 0.

        Raises:
            ConfigError: The damping c is not a positive number, or λ is so small that rounding errors would take over.
        """
        if not (math.isfinite(damping) and damping > 0):
            raise ConfigError(f"damping is {damping}; it must be a finite number above 0.")
        unit = (self.mean_eigenvalue if unit is None else unit) or 1.0
        smallest = SMALLEST * self.norm / unit
        if damping < smallest:
            raise ConfigError(
                f"damping is {damping:g}, but one direction of these features is so much stronger than the others that "
                f"rounding errors take over below {smallest:.1g}; use more."
            )
        return damping * unit

    @cached_property
    def eigen(self) -> tuple[Tensor, Tensor]:
        """The eigenvalues that are not 0, in ascending order [r], and their eigenvectors."""
        values, basis = torch.linalg.eigh(self.gram)
        above = int((values <= ZERO * values[-1]).sum())
        return values[above:], basis[:, above:]

    def factor(self, strength: float) -> Tensor | None:
        """Return L with LLᵀ = ΦᵀΦ + λI, at the first λ; None for others, which the eigendecomposition is to serve."""
        if self._solved is None and strength >= SOLVABLE * self.norm:
            matrix = self.gram.clone()
            matrix.diagonal().add_(strength)
            self._solved = strength, torch.linalg.cholesky(matrix)
        return self._solved[1] if self._solved and self._solved[0] == strength else None
