"""The family of a network: what Whence must know of a class of networks to read, write and retrain its models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Family:
    """The networks of one class.

    Attributes:
        network: Their class.
        read: From a folder to the network, float32 and in eval mode, and its scheduler. It raises an `ArtefactError` or
            a `ModelError` that says what is wrong with the folder.
        write: Writes a network and its scheduler as a folder that `read` and diffusers open.
        untrained: From a network to one of the same shape with new random weights.
        pipelines: Class names of pipelines that are read by this family whatever they call their network.
    """

    network: type[nn.Module]
    read: Callable[[Path], tuple[nn.Module, Any]]
    write: Callable[[nn.Module, Any, Path], None]
    untrained: Callable[[nn.Module], nn.Module]
    pipelines: tuple[str, ...] = ()
