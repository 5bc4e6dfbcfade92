"""The base: a model of text or classes that adapters are trained on. It is read, never changed and never copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from whence.config import AdapterConfig, Config
from whence.diffusion.class_names import ClassNames
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.shipped_base import base_folder
from whence.errors import ConfigError, ModelError
from whence.process_config import OPEN, ProcessConfig


@dataclass(frozen=True)
class Base:
    """The base of adapters, in a folder.

    Attributes:
        folder: What ``save_pretrained`` of its pipeline wrote.
        resolution: Height and width of its pictures; None for those in its configuration.
        settings: What its folder does not say of the process.
        classes: Labels by the names of classes; None for those in its folder.

    Raises:
        ArtefactError: The folder is no pipeline, or a part of it is missing.
        ModelError: It takes no text, or is of a kind that is not supported.
        ConfigError: There are classes, and it takes none.
    """

    folder: Path
    resolution: int | None = None
    settings: ProcessConfig = OPEN
    classes: Mapping[str, int] | None = field(default=None, hash=False)

    @classmethod
    def of(cls, folder: Path, config: Config) -> Base:
        """Return the base of adapters with these settings."""
        adapter = config.adapter or AdapterConfig()
        return cls(folder, adapter.resolution, config.process or OPEN, adapter.classes)

    def __post_init__(self) -> None:
        if self.encoders.text is None:
            raise ModelError(
                f"{self.folder} takes no text and no classes, and adapters are trained on models of either. Give the "
                "folder of such a pipeline (docs/families.md)."
            )

    @cached_property
    def encoders(self) -> Encoders:
        """Its autoencoder and text encoder, without the network."""
        found = Encoders.of(self.folder)
        if self.classes is None:
            return found
        if not isinstance(found.text, ClassNames):
            raise ConfigError(f"There are names of classes, but {self.folder} takes no classes. Leave them out.")
        return replace(found, text=found.text.with_labels(self.classes))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of an example where `resolution` decides about it."""
        return None if self.resolution is None else self.encoders.codec.example_size(self.resolution)

    def open(self) -> DiffusionModel:
        """The model, in eval mode, on the CPU."""
        model = DiffusionModel.load(self.folder, self.shape, settings=self.settings)
        return model if self.classes is None else replace(model, text=self.encoders.text)

    def fingerprints(self, model: DiffusionModel | None = None) -> dict[str, str]:
        """SHA-256 (hex) of its network with the noise schedule, of its autoencoder and of its text encoder."""
        assert self.encoders.text is not None
        return {
            "network": fingerprint(model or self.open()),
            "autoencoder": self.encoders.codec.fingerprint,
            "text_encoder": self.encoders.text.fingerprint,
        }


def labels_of_base(base: str | Path | None, file: Path) -> dict[str, int]:
    """Return the labels of a base by the names of classes that a file states.

    Raises:
        ConfigError: There is no base, it takes no classes, or the file can't be read.
    """
    text = None if base is None else Encoders.of(base_folder(base)).text
    if not isinstance(text, ClassNames):
        what = "there is no base that takes any" if base is None else f"{base} takes no classes"
        raise ConfigError(f"There is a file of classes, {file}, but {what}. Leave it out.")
    return text.labels_in(file)
