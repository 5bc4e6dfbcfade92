"""An adapter on disk, as a value that can be recorded: its file and the strength that it is applied with."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from whence.errors import ArtefactError, ConfigError, join_names

#: Files that hold the adapter of a folder; the first that is there is taken.
FILE_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: it changes the weight W of each of its layers by ΔW = strength · s · B A.

    Attributes:
        file: A .safetensors file, or the folder that holds it.
        strength: What ΔW is multiplied by.
        scale: The part of the factor of B A that is no part of B. Files that Whence writes have their whole scale in B;
            with the scale of a run, A and B are those that were trained.

    Raises:
        ConfigError: The strength is 0 or not finite.

    Example:
        >>> Adapter(Path("style.safetensors")).strength
        1.0
    """

    file: Path
    strength: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength) or self.strength == 0:
            raise ConfigError(
                f"The strength of the adapter {self.file} is {self.strength:g}; expected a number other than 0. Leave "
                "the adapter out to see the model without it."
            )

    @classmethod
    def parse(cls, text: str) -> Adapter:
        """Return the adapter of ``FILE`` or ``FILE:STRENGTH``; a file that exists under the whole text comes first.

        Raises:
            ConfigError: What follows the last colon is no strength.

        Example:
            >>> Adapter.parse("loras/style.safetensors:0.8").strength
            0.8
        """
        file, colon, strength = text.rpartition(":")
        if not colon or os.path.exists(text):
            return cls(Path(text))
        try:
            value = float(strength)
        except ValueError:
            value = math.nan
        if not file or math.isnan(value):
            raise ConfigError(
                f"The adapter {text!r} does not exist, and {strength!r} is no strength. Give FILE or FILE:STRENGTH, "
                "like style.safetensors:0.8."
            )
        return cls(Path(file), value)

    @classmethod
    def parse_all(cls, texts: Iterable[str] | None) -> list[Adapter]:
        """Return the adapters of several texts; none of None."""
        return [cls.parse(text) for text in texts or ()]

    @property
    def weights_file(self) -> Path:
        """The .safetensors file itself.

        Raises:
            ArtefactError: There is none, there are several, or the weights are pickled.
        """
        return _file_of_folder(self.file) if os.path.isdir(self.file) else _readable(self.file)


def _readable(file: Path) -> Path:
    if not os.path.exists(file):
        raise ArtefactError(f"The adapter {file} does not exist. Give a .safetensors file or the folder that holds it.")
    if file.suffix in PICKLED:
        raise ArtefactError(
            f"The adapter {file} is pickled, and reading it could run any program. Convert it once, where you trust "
            "it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'adapter.safetensors')."
        )
    return file


def _file_of_folder(folder: Path) -> Path:
    """The file of the adapter in a folder."""
    for name in FILE_NAMES:
        if (folder / name).exists():
            return folder / name
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        raise ArtefactError(
            f"{folder} has {len(files)} .safetensors files ({join_names([file.name for file in files])}), and none is "
            f"{' or '.join(FILE_NAMES)}. Give the one that is the adapter."
        )
    pickled = sorted(file for file in folder.iterdir() if file.suffix in PICKLED)
    if pickled:
        return _readable(pickled[0])
    inner = sorted(file.parent for name in FILE_NAMES for file in folder.glob(f"*/{name}"))
    hint = f" One is in {inner[0]}." if inner else ""
    raise ArtefactError(f"{folder} holds no adapter: expected {' or '.join(FILE_NAMES)} in it.{hint}")
