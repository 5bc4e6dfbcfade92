"""The gradient spec: a checkpoint, the parameters that are differentiated and what is kept of their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.engine import DEFAULT, Engine
from whence.errors import MismatchError
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.coverage import coverage


@dataclass(frozen=True)
class GradientSpec:
    """What features are made with. `make_gradient_spec` measures it.

    Attributes:
        checkpoint: The model.
        fingerprint: Fingerprint of the model.
        compression: Settings of the compression, shares and widths of the layers, and the layers that are left out.
        size: Number of parameters that are differentiated.
    """

    checkpoint: Checkpoint | LoadedCheckpoint
    fingerprint: str
    compression: Mapping[str, Any]
    size: int

    @property
    def can_travel(self) -> bool:
        """Whether another process can open the model."""
        return isinstance(self.checkpoint, Checkpoint)

    def open(self, engine: Engine = DEFAULT) -> tuple[DiffusionModel, Collector]:
        """Return the model on the engine's device, and its collector.

        Raises:
            MismatchError: The model changed since the spec was made.
        """
        model, collector = _open(self, engine.device)
        model.network.to(engine.device).eval()
        return model, collector

    def __hash__(self) -> int:
        return hash((self.checkpoint, self.fingerprint))


@lru_cache(maxsize=2)
def _open(spec: GradientSpec, device: torch.device) -> tuple[DiffusionModel, Collector]:
    """Open the model and make the random matrices once; a process then makes many shards with them."""
    model = spec.checkpoint.open()
    if isinstance(spec.checkpoint, Checkpoint) and fingerprint(model) != spec.fingerprint:
        raise MismatchError(f"{spec.checkpoint.folder} changed while features were made. Run the command again.")
    settings, cover = spec.compression, coverage(model.network, spec.checkpoint.parameters)
    layer_maps = maps(cover, Compression(**settings["settings"]), settings["shares"], device)
    return model, Collector(model.network, cover, layer_maps, settings["autocast"])
