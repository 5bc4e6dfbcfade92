"""The base: a model of text or classes that adapters are trained on. It is read, never changed and never copied."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.errors import ModelError
from whence.process_config import OPEN, ProcessConfig


@dataclass(frozen=True)
class Base:
    """The base of adapters, in a folder.

    Attributes:
        folder: What ``save_pretrained`` of its pipeline wrote.
        resolution: Height and width of its pictures; None for those in its configuration.
        settings: What its folder does not say of the process.

    Raises:
        ArtefactError: The folder is no pipeline, or a part of it is missing.
        ModelError: It takes no text, or is of a kind that is not supported.
    """

    folder: Path
    resolution: int | None = None
    settings: ProcessConfig = OPEN

    def __post_init__(self) -> None:
        if self.encoders.text is None:
            raise ModelError(
                f"{self.folder} takes no text and no classes, and adapters are trained on models of either. Give the "
                "folder of such a pipeline (docs/families.md)."
            )

    @cached_property
    def encoders(self) -> Encoders:
        """Its autoencoder and text encoder, without the network."""
        return Encoders.of(self.folder)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of an example where `resolution` decides about it."""
        return None if self.resolution is None else self.encoders.codec.example_size(self.resolution)

    def open(self) -> DiffusionModel:
        """The model, in eval mode, on the CPU."""
        return DiffusionModel.load(self.folder, self.shape, settings=self.settings)

    def fingerprints(self, model: DiffusionModel | None = None) -> dict[str, str]:
        """SHA-256 (hex) of its network with the noise schedule, of its autoencoder and of its text encoder."""
        assert self.encoders.text is not None
        return {
            "network": fingerprint(model or self.open()),
            "autoencoder": self.encoders.codec.fingerprint,
            "text_encoder": self.encoders.text.fingerprint,
        }
