"""A checkpoint: one set of weights on disk, as a value that can be recorded and sent to another process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from whence import artefacts
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, ConfigError, join_names
from whence.process_config import OPEN, ProcessConfig


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk, and which of its parameters are differentiated.

    Attributes:
        folder: The diffusers folder.
        weights: A safetensors file with tensors ``weights/NAME``, of the adapters alone where there are any; None for
            the weights of folder and adapters.
        parameters: A regular expression that the names of layers must contain; None for all.
        adapters: Adapters on top of the folder's weights.
        shape: Shape of an example; None for that in the network's configuration.
        settings: What the folder does not say of the process.

    Raises:
        ConfigError: `parameters` is no regular expression.

    Example:
        >>> Checkpoint(Path("runs/single"), parameters="up_blocks").parameters
        'up_blocks'
    """

    folder: Path
    weights: Path | None = None
    parameters: str | None = None
    adapters: tuple[Adapter, ...] = ()
    shape: tuple[int, ...] | None = None
    settings: ProcessConfig = OPEN

    def __post_init__(self) -> None:
        parameter_pattern(self.parameters)

    def open(self) -> DiffusionModel:
        """The model, in eval mode, on the CPU."""
        model = DiffusionModel.load(self.folder, self.shape, self.adapters, self.settings)
        if self.weights is not None:
            tensors = artefacts.read_tensors(self.weights)
            state = {
                name.removeprefix("weights/"): value for name, value in tensors.items() if name.startswith("weights/")
            }
            if self.adapters:
                _require_trained(model, state, self.weights)
            model.network.load_state_dict(state, strict=not self.adapters)
        return model


def _require_trained(model: DiffusionModel, state: Mapping[str, Tensor], file: Path) -> None:
    """Check that a file has all weights of the adapters, or B of all of them where A is frozen, and no others."""
    trained = {name for name, p in model.network.named_parameters() if p.requires_grad}
    if state.keys() not in (trained, {name for name in trained if ".lora_B." in name}):
        raise ArtefactError(
            f"{file} is not of the adapters on this model: {join_names(sorted(trained ^ state.keys()))} are in one "
            "alone. Give the checkpoints of the run that has the adapter."
        )


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A `Checkpoint` in memory, which can't be sent to another process."""

    model: DiffusionModel
    parameters: str | None = None

    def __post_init__(self) -> None:
        parameter_pattern(self.parameters)

    def open(self) -> DiffusionModel:
        """The model itself."""
        return self.model


def parameter_pattern(parameters: str | None) -> re.Pattern[str]:
    """The pattern that the name of a layer or parameter must contain to be differentiated; None matches every name."""
    try:
        return re.compile(parameters or "")
    except re.error as error:
        raise ConfigError(
            f"The parameters {parameters!r} are no regular expression: {error}. Give a part of the names, like "
            "'up_blocks' or '(attn1|attn2)'."
        ) from None
