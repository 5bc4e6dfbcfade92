"""Second moments of features, layer by layer, summed over blocks of examples: all that a kernel needs of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from whence.errors import ConfigError
from whence.kernel.algebra import product
from whence.kernel.kernel import damped
from whence.kernel.whitening import LayerWhitening, Whitening
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Moments:
    """Φ_lᵀ diag(w) Φ_l of every layer l, float64 [p_l, p_l], and the numbers that say how large a damping is.

    Memory is that of these matrices and doesn't grow with the number of examples N.

    Attributes:
        widths: Number of features of every layer, in the order of the columns; one number for all features together.
        count: N, examples so far.
        squares: Σ_n ‖φ_ln‖² of every layer, without weights.
        loss: Σ_n of the mean losses.

    Example:
        >>> moments = Moments((2,))
        >>> for row in torch.tensor([[3.0, 0.0], [0.0, 1.0]]):
        ...     moments.add(row[None])
        >>> moments.grams[0].tolist(), moments.strengths(1.4)  # 1.4 times the mean of the eigenvalues 9 and 1
        ([[9.0, 0.0], [0.0, 1.0]], [7.0])
    """

    widths: tuple[int, ...]
    count: int = 0
    squares: list[float] = field(default_factory=list)
    loss: float = 0.0
    grams: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.squares = [0.0] * len(self.widths)
        self.grams = [torch.zeros(width, width, dtype=torch.float64) for width in self.widths]

    def add(self, features: Tensor, weights: Tensor | None = None, losses: Tensor | None = None) -> None:
        """Add the features of a block of examples, float32 [n, p], their weights [n] and their mean losses [n].

        Raises:
            ConfigError: The features are not as wide as the layers, or a weight is not above 0.
        """
        if features.ndim != 2 or features.shape[1] != sum(self.widths):
            raise ConfigError(f"Layers of {sum(self.widths)} features in all get features {list(features.shape)}.")
        if weights is not None and not (weights > 0).all():
            raise ConfigError("A kernel needs a weight above 0 for each of its examples.")
        self.count += len(features)
        self.loss += 0.0 if losses is None else float(losses.double().sum())
        for number, layer in enumerate(torch.split(features, list(self.widths), 1)):
            self.squares[number] += float(layer.double().square().sum())
            self.grams[number] += product(layer if weights is None else layer * weights[:, None].to(layer), layer)

    def strengths(self, damping: float, units: Sequence[float] = ()) -> list[float]:
        """Return λ_l = c · unit_l of every layer; the unit is by default tr(Φ_lᵀ diag(w) Φ_l) / min(N, p_l).

        Raises:
            ConfigError: The damping c is not a positive number, or so small that rounding errors would take over.
        """
        means = [float(gram.trace()) / min(self.count, len(gram)) for gram in self.grams]
        pairs = zip(self.grams, units or means, strict=True)
        return [damped(damping, unit, float(gram.norm())) for gram, unit in pairs]

    def whitening(self, damping: float | None, units: Sequence[float] = ()) -> Whitening:
        """Return φ ↦ K^(-1/2) φ / √L with K_l = Φ_lᵀ diag(w) Φ_l + λ_l of each of the L layers; errors as `strengths`.

        The inner product of two vectors is the mean over the layers of the scores φ_qlᵀ K_l⁻¹ φ_nl. Without a damping
        K_l is the unit matrix.
        """
        strengths = [None] * len(self.grams) if damping is None else self.strengths(damping, units)
        return Whitening(tuple(map(LayerWhitening.of, self.grams, strengths)))
