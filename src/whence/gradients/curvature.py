"""Curvature that is there: the eigenbases of the layers, and the eigenvalues in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.gradients.make_curvature import BASES, EIGENVALUES, LAYERS


@dataclass(frozen=True, eq=False)
class Curvature:
    """The curvature of a model, layer by layer: (V ⊗ U) diag(Λ) (V ⊗ U)ᵀ.

    Attributes:
        bases: U [I, I] and V [O, O] of every layer, in the order of the columns of gradients.
        eigenvalues: Λ of all layers by "k-fac" and "ek-fac", float64 [P].

    Example:
        >>> turn = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> Curvature(((turn, torch.eye(1)),), {}).rotated(torch.tensor([[3.0, 4.0]]))
        tensor([[4., 3.]])
    """

    bases: tuple[tuple[Tensor, Tensor], ...]
    eigenvalues: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> Curvature:
        """Return the curvature in a folder that `make_curvature` made."""
        bases = artefacts.read_tensors(path / BASES)
        names = artefacts.read_json(path / LAYERS)
        pairs = tuple((bases[f"{name} inputs"], bases[f"{name} outputs"]) for name in names)
        return cls(pairs, artefacts.read_tensors(path / EIGENVALUES))

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of parameters of every layer."""
        return tuple(len(u) * len(v) for u, v in self.bases)

    def rotated(self, gradients: Tensor) -> Tensor:
        """Return whole gradients [n, P] in the eigenbases, Vᵀ ∇W U layer by layer, in a new tensor."""
        widths = list(self.widths)
        result = torch.empty_like(gradients)
        pairs = zip(torch.split(gradients, widths, 1), torch.split(result, widths, 1), self.bases, strict=True)
        for part, out, (u, v) in pairs:
            out.copy_((v.T @ (part.reshape(-1, len(v), len(u)) @ u)).flatten(1))
        return result
