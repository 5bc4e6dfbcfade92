"""How the score of a method is an inner product, so that the examples of the largest scores can be searched for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class ExampleKernel(Protocol):
    """What factors of examples depend on; `Kernel` is one of all examples, `BlockKernel` of some."""

    @property
    def norms(self) -> Tensor:
        """‖φ_n‖ [n], float64."""

    def leverage(self, damping: float) -> Tensor:
        """φ_nᵀ K⁻¹ φ_n [n], float64."""

    def relative(self, damping: float) -> Tensor:
        """‖K⁻¹ φ_n‖ [n], float64."""


@dataclass(frozen=True, eq=False)
class BlockKernel:
    """The kernel of all examples, for some of them: `features` φ [n, p], `vectors` u = K^(-1/2) φ in the eigenbasis.

    `divisors` are the eigenvalues Λ + λ of K, [p]. The damping is that of the vectors.
    """

    features: Tensor
    vectors: Tensor
    divisors: Tensor

    @property
    def norms(self) -> Tensor:
        """‖φ_n‖ [n]."""
        norms: Tensor = torch.linalg.vector_norm(self.features, dim=1, dtype=torch.float64)
        return norms

    def leverage(self, damping: float) -> Tensor:
        """‖u_n‖² [n]."""
        return self.vectors.square().sum(1)

    def relative(self, damping: float) -> Tensor:
        """‖(Λ + λ)^(-1/2) u_n‖ [n]."""
        return (self.vectors.square() @ (1 / self.divisors)).sqrt()


#: From the mean losses of examples [n] or None, their kernel and the damping, to a factor of each, float64 [n].
Factor = Callable[["Tensor | None", ExampleKernel, float], "Tensor"]


@dataclass(frozen=True)
class InnerProduct:
    """The score of a method as an inner product, S_qn = g(c_q c_n φ_qᵀ K⁻¹ φ_n); K is the unit matrix if not damped.

    Attributes:
        layers: Whether it is the mean over layers, each with a kernel of its own.
        factor: c_n of an example; None for 1.
        of_queries: Whether c_q is the same factor of the query; else it is 1.
        squared: Whether g(s) = s |s|, which keeps the order; else g(s) = s.

    Example:
        >>> import torch
        >>> InnerProduct(squared=True).scores(torch.tensor([2.0, -3.0])).tolist()
        [4.0, -9.0]
    """

    layers: bool = False
    factor: Factor | None = None
    of_queries: bool = False
    squared: bool = False

    def scores(self, products: Tensor) -> Tensor:
        """Return g of inner products."""
        return products * products.abs() if self.squared else products

    def scaled(
        self,
        vectors: Tensor,
        features: Tensor,
        divisors: Tensor,
        damping: float = 0.0,
        losses: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return vectors [n, p] times their factors, and what gives scores of examples the weights [n].

        The damping is that of the vectors, for messages.
        """
        if self.factor is not None:
            kernel = BlockKernel(features, vectors, divisors)
            vectors = vectors * self.factor(losses, kernel, damping)[:, None]
        if weights is None:
            return vectors
        return vectors * (weights.sqrt() if self.squared else weights).to(vectors)[:, None]


def by_norm(losses: Tensor | None, kernel: ExampleKernel, damping: float) -> Tensor:
    """Return 1 / ‖φ_n‖ [n]; 0 where the gradient of n is 0."""
    return _inverse(kernel.norms)


def by_movement(losses: Tensor | None, kernel: ExampleKernel, damping: float) -> Tensor:
    """Return 1 / ‖K⁻¹φ_n‖ [n]; 0 where the gradient of n is 0."""
    return _inverse(kernel.relative(damping))


def _inverse(values: Tensor) -> Tensor:
    return torch.where(values == 0, 0.0, 1 / values)
