"""The weighted loss of a step's batch as a function of weights and example weights, and its second derivatives.

    F(θ, w) = Σ_b w_b ℓ_b(θ) / B,     g = ∂F/∂θ,     H = ∂²F/∂θ²,     ∂g/∂w_b = ∇ℓ_b / B

A second backward pass, through the first, gives the products with H, which is symmetric, and with ∂g/∂w. Attention is
computed by plain matrix products, because its fused kernels have no second derivative.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import vector_to_parameters

from whence.diffusion.model import DiffusionModel
from whence.diffusion.visits import Visits
from whence.errors import NotFiniteError


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """The gradient of a batch with the graph that second derivatives are taken of.

    Attributes:
        parameters: The parameters, P weights together.
        weights: Weights w_b of the examples, [B].
        losses: Their losses ℓ_b, [B].
        parts: The gradient by each of the parameters.
    """

    parameters: tuple[Parameter, ...]
    weights: Tensor
    losses: Tensor
    parts: tuple[Tensor, ...]

    @cached_property
    def gradient(self) -> Tensor:
        """g, [P]."""
        return flat(self.parts).detach()

    def pull_back(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return H u, [K, P], and ⟨∂g/∂w, u⟩, [K, B], of vectors u [K, P]."""
        of_weights, of_examples = [], []
        for vector in vectors:
            *products, examples = torch.autograd.grad(
                self.parts,
                (*self.parameters, self.weights),
                self._split(vector),
                retain_graph=True,
                materialize_grads=True,
            )
            of_weights.append(flat(products))
            of_examples.append(examples)
        return torch.stack(of_weights), torch.stack(of_examples)

    def push(self, tangents: Tensor, d_weights: Tensor) -> Tensor:
        """Return the tangents of g, H dθ + Σ_b dw_b ∇ℓ_b / B, [K, P], of tangents dθ [K, P] and dw [K, B]."""
        pushed = []
        for tangent, d_weight in zip(tangents, d_weights, strict=True):
            outputs = (*self.parts, self.losses)
            along = (*self._split(tangent), d_weight / len(d_weight))
            pushed.append(
                flat(
                    torch.autograd.grad(outputs, self.parameters, along, retain_graph=True, materialize_grads=True),
                )
            )
        return torch.stack(pushed)

    def _split(self, vector: Tensor) -> list[Tensor]:
        """A vector [P] in the shapes of the parameters."""
        pieces = torch.split(vector, [p.numel() for p in self.parameters])
        return [piece.view_as(p) for piece, p in zip(pieces, self.parameters, strict=True)]


@dataclass(frozen=True, eq=False)
class WeightedLoss:
    """The weighted loss of any batch; it puts the weights that it is asked about into the network.

    Attributes:
        model: The model, in the precision of the derivatives.
    """

    model: DiffusionModel

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.model.network.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def losses(self, theta: Tensor, visits: Visits) -> Tensor:
        """Return ℓ_b at the weights θ [P], [B]."""
        with self._at(theta):
            return self._losses(visits)

    def gradient(self, theta: Tensor, visits: Visits, weights: Tensor) -> Tensor:
        """Return g at the weights θ [P], of visits with the example weights [B]."""
        with self._at(theta) as parameters:
            loss = (weights * self._losses(visits)).sum() / len(weights)
            return flat(torch.autograd.grad(loss, parameters, materialize_grads=True))

    def second_order(self, theta: Tensor, visits: Visits, weights: Tensor) -> SecondOrder:
        """Return the gradient at the weights θ [P], from which products with second derivatives are taken.

        They are those at θ until the next call.
        """
        w = weights.clone().requires_grad_()
        with self._at(theta) as parameters:
            losses = self._losses(visits)
            parts = torch.autograd.grad(
                (w * losses).sum() / len(w), parameters, create_graph=True, materialize_grads=True
            )
        return SecondOrder(parameters, w, losses, parts)

    def _losses(self, visits: Visits) -> Tensor:
        """ℓ_b, [B], which must be finite."""
        losses = visits.losses(self.model)
        if not torch.isfinite(losses).all():
            bad = visits.ids[int(torch.isfinite(losses).int().argmin())]
            raise NotFiniteError(
                f"The loss of {bad!r} is not finite in the replay. Example weights far from those of "
                "the run can make it diverge; take a smaller change."
            )
        return losses

    @contextmanager
    def _at(self, theta: Tensor) -> Iterator[tuple[Parameter, ...]]:
        """Put weights into the network, whose attention can be differentiated twice."""
        parameters = tuple(self.parameters.values())
        vector_to_parameters(theta, parameters)
        with sdpa_kernel(SDPBackend.MATH):
            yield parameters


def flat(tensors: Iterator[Tensor] | list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Return tensors as one vector [P]."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
