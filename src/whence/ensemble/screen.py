"""The screen: an estimate of every unit's ablation from one forward-mode drawing of the picture.

ΔX(u) = Σ_m Δw_m(u) J_m,   score(u) = ‖ΔX(u)‖₂ over pixels in [0, 1]      (see `differential`)

runs/ens/screens/0-3/    picture 0/3 and its tangents J, from which any change of weights is estimated
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.ensemble.codebook import Codebook
from whence.ensemble.differential import weight_change


@dataclass(frozen=True)
class Screen:
    """A picture and its tangents.

    Attributes:
        path: Their directory.
        manifest: Sample and sampler, which does not clip.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Screen:
        """Return a screen, checking every file by hash.

        Raises:
            ArtefactError: It is missing, unfinished or damaged.
        """
        return cls(path, artefacts.read_verified(path, "screen"))

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """``factual`` float32 [C, H, W], not clipped to [-1, 1], and ``tangents`` J float64 [M, C, H, W]."""
        return artefacts.read_tensors(self.path / "tangents.safetensors")

    def distances(self, changes: Tensor) -> Tensor:
        """Estimated distances from the factual picture, ‖Σ_m Δw_m J_m‖₂ over pixels in [0, 1].

        With Jᵀ = QR, [C·H·W, M], the norm is that of R Δw, so thousands of changes cost no pictures.

        Args:
            changes: Changes Δw of the weights, float64 [K, M]; `weight_change` gives those of an ablation or placebo.

        Returns:
            Float64 [K].
        """
        triangle = torch.linalg.qr(self.tensors["tangents"].flatten(1).T, mode="r").R
        norm: Tensor = torch.linalg.vector_norm(changes @ triangle.T, dim=1)
        return norm / 2


def unit_changes(codebook: Codebook) -> Tensor:
    """Change of the members' weights by the ablation of each unit, float64 [U, M]."""
    return torch.stack([weight_change(codebook.members, np.flatnonzero(~word).tolist()) for word in codebook.bits.T])
