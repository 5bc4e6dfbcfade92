"""The features of one model and readout, from which every gradient method computes its scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from whence.errors import ConfigError, NotFiniteError
from whence.kernel.algebra import norms, product, weighted
from whence.kernel.kernel import Kernel
from whence.kernel.moments import Moments
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class FeaturePair:
    """Features of training examples and queries. All methods and dampings share one `kernel` of them.

    Attributes:
        examples: Φ, features of training examples, means over draws: float32 [N, p].
        queries: Φ_q, features of queries by the same compression: float32 [Q, p].
        losses: Mean loss of every training example over its draws [N]; only some methods need it.
        widths: Number of features of every layer, in the order of the columns; empty where layers are not known.
        eigenvalues: Those of the curvature of the loss, summed over all training examples, for every feature [p], where
            features are whole gradients in its eigenbasis. Then `examples` may be some of the training examples.
        weights: How often each example counts in the kernel [N]; None for once. Scores are those of one copy.
        units: λ of the kernel of every layer at the damping 1; empty for the mean eigenvalues.
        moments: From the numbers of features of parts, in the order of the columns, to the moments of all training
            examples in each part, weighted. Then `examples` may be a block of the training examples, and weights are
            not given.
        population: Number of examples that those with weights stand for; None for as many as there are.

    Raises:
        ConfigError: Features don't fit each other, the widths don't add up to them, there isn't one loss per example,
            or a loss is negative.
        NotFiniteError: A feature or a loss is not finite.

    Example:
        >>> import torch
        >>> features = FeaturePair(torch.eye(2), torch.tensor([[1.0, 2.0]]))
        >>> features.dot.float(), features.kernel.scores(1.0).float()
        (tensor([[1., 2.]]), tensor([[0.5000, 1.0000]]))
    """

    examples: Tensor
    queries: Tensor
    losses: Tensor | None = None
    widths: tuple[int, ...] = ()
    eigenvalues: Tensor | None = None
    weights: Tensor | None = None
    units: tuple[float, ...] = ()
    moments: Callable[[tuple[int, ...]], tuple[Moments, ...]] | None = None
    population: int | None = None

    def __post_init__(self) -> None:
        norms(self.examples, self.queries)
        if self.widths and sum(self.widths) != self.examples.shape[1]:
            raise ConfigError(f"Layers of {sum(self.widths)} features in all don't make {self.examples.shape[1]}.")
        if self.losses is None:
            return
        if tuple(self.losses.shape) != (len(self.examples),) or (self.losses < 0).any():
            raise ConfigError(
                f"Features need one mean loss, 0 or more, for each of {len(self.examples)} examples; the losses are "
                f"{list(self.losses.shape)}, of which {int((self.losses < 0).sum())} below 0."
            )
        if not self.losses.isfinite().all():
            n = int((~self.losses.isfinite()).nonzero()[0])
            raise NotFiniteError(f"The loss of example {n} (from 0) is not finite.")

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel of the examples and queries."""
        (moments,) = self._moments((self.examples.shape[1],))
        return Kernel(self.examples, self.queries, self.weights, moments=moments)

    @cached_property
    def layers(self) -> tuple[Kernel, ...]:
        """The kernel of the features of every layer."""
        if not self.widths:
            return (self.kernel,)
        widths, units = list(self.widths), self.units or (None,) * len(self.widths)
        sides = torch.split(self.examples, widths, 1), torch.split(self.queries, widths, 1)
        parts = zip(*sides, units, self._moments(self.widths), strict=True)
        return tuple(
            Kernel(examples, queries, self.weights, unit, moments) for examples, queries, unit, moments in parts
        )

    def _moments(self, widths: tuple[int, ...]) -> tuple[Moments | None, ...]:
        """The moments of all training examples in parts of the columns; None where all are here."""
        if self.population is not None:
            parts = torch.split(weighted(self.examples, self.weights), list(widths), 1)
            return tuple(Moments.of(part, self.population) for part in parts)
        return (None,) * len(widths) if self.moments is None else self.moments(widths)

    @property
    def dot(self) -> Tensor:
        """Φ_qΦᵀ, float64 [Q, N], in a new tensor. It doesn't need the kernel."""
        return product(self.queries.T, self.examples.T)

    @property
    def norms(self) -> tuple[Tensor, Tensor]:
        """‖φ_n‖ [N] and ‖φ_q‖ [Q], float64. They don't need the kernel."""
        return norms(self.examples, self.queries)
