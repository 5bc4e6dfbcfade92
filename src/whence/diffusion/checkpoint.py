"""A checkpoint: one set of weights on disk, as a value that can be recorded and sent to another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whence import artefacts
from whence.diffusion.process import DiffusionModel


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk: a diffusers folder, perhaps with the weights of a checkpoint instead of its own.

    Attributes:
        folder: The diffusers folder.
        weights: A safetensors file with tensors ``weights/NAME``; None for the folder's own weights.
    """

    folder: Path
    weights: Path | None = None

    def open(self) -> DiffusionModel:
        """The model, in eval mode, on the CPU."""
        model = DiffusionModel.load(self.folder)
        if self.weights is not None:
            tensors = artefacts.read_tensors(self.weights)
            found = {
                name.removeprefix("weights/"): value for name, value in tensors.items() if name.startswith("weights/")
            }
            model.network.load_state_dict(found)
        return model
