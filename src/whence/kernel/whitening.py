"""Whitening: vectors whose inner products are the scores of a kernel, u = K^(-1/2) φ.

With K_l = V_l diag(Λ_l + λ_l) V_lᵀ of each of L layers, u_l = diag(Λ_l + λ_l)^(-1/2) V_lᵀ φ_l / √L. So

    ⟨u_q, u_n⟩ = 1/L Σ_l φ_qlᵀ K_l⁻¹ φ_nl

In this basis the columns of a layer are uncorrelated over the examples. They are sorted by their variance, which is in
proportion to Λ / (Λ + λ), so the first columns alone give the best inner products of as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from whence.kernel.algebra import rotated
from whence.kernel.moments import Moments
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Tensors of a layer.
NAMES = ("eigenvalues", "basis", "divisors")


@dataclass(frozen=True, eq=False)
class LayerWhitening:
    """The eigenvalues Λ [p] and eigenvectors V [p, p] of the moments of a layer, float64, and the eigenvalues of K.

    These are Λ + λ, or 1 where inner products are those of the features themselves.
    """

    eigenvalues: Tensor
    basis: Tensor
    divisors: Tensor

    @classmethod
    def of(cls, gram: Tensor, strength: float | None) -> LayerWhitening:
        """Return the whitening of a matrix ΦᵀΦ [p, p] with λ, or with K = 1; eigenvalues below 0 are errors of 0."""
        values, basis = torch.linalg.eigh(gram)
        values = values.clamp_min(0)
        return cls(values, basis, torch.ones_like(values) if strength is None else values + strength)


@dataclass(frozen=True, eq=False)
class Whitening:
    """The map from features [n, p] to vectors float64 [n, p] of the same length.

    Example:
        >>> diagonal = LayerWhitening.of(torch.diag(torch.tensor([1.0, 9.0])).double(), 7.0)
        >>> whitening = Whitening((diagonal,))
        >>> vectors = whitening.vectors(torch.tensor([[8.0, 16.0]]))  # 16/√(9 + 7) comes first, then 8/√(1 + 7)
        >>> round((vectors @ vectors.T).item(), 9), abs(round(vectors[0, 0].item(), 9))
        (24.0, 4.0)
    """

    layers: tuple[LayerWhitening, ...]

    @classmethod
    def of(cls, moments: Sequence[Moments], damping: float | None, units: Sequence[float] = ()) -> Whitening:
        """Return the whitening by the moments of all examples in each layer.

        λ_l is the damping times the unit of the layer, by default its mean eigenvalue. Without a damping K_l is the
        unit matrix.

        Raises:
            ConfigError: The damping is not a positive number, or so small that rounding errors would take over.
        """
        pairs = zip(moments, units or (None,) * len(moments), strict=True)
        if damping is None:
            return cls(tuple(LayerWhitening.of(one.gram, None) for one in moments))
        return cls(tuple(LayerWhitening.of(one.gram, one.strength(damping, unit)) for one, unit in pairs))

    @cached_property
    def divisors(self) -> Tensor:
        """The eigenvalues of K for every column of the vectors, times the number of layers."""
        return len(self.layers) * torch.cat([layer.divisors for layer in self.layers])[self._order]

    @cached_property
    def _order(self) -> Tensor:
        """The columns by their variance, largest first; those of equal variance as they come."""
        shares = torch.cat([layer.eigenvalues / layer.divisors for layer in self.layers])
        return shares.argsort(descending=True, stable=True)

    def vectors(self, features: Tensor) -> Tensor:
        """Return u [n, p], float64, of features φ [n, p]."""
        widths = [len(layer.eigenvalues) for layer in self.layers]
        parts = zip(torch.split(features, widths, 1), self.layers, strict=True)
        turned = torch.cat([rotated(part, layer.basis) for part, layer in parts], 1)
        return turned[:, self._order] / self.divisors.sqrt()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The whitening as named tensors, for a file."""
        named: dict[str, Tensor] = {}
        for number, layer in enumerate(self.layers):
            named |= {f"{name}.{number}": getattr(layer, name) for name in NAMES}
        return named

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Whitening:
        """Return the whitening of named tensors."""
        numbers = range(len(tensors) // len(NAMES))
        return cls(tuple(LayerWhitening(*(tensors[f"{name}.{number}"] for name in NAMES)) for number in numbers))
