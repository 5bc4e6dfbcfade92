"""Families of networks: what Whence must know of a class of networks to read, write and retrain its models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from whence.diffusion.families.folder import FROM_PYTHON, read_mapping
from whence.errors import ArtefactError, ModelError


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


#: Families by the class names of their network and of their pipelines.
FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Add a family to the table, in this process; it takes the place of an older one of the same class."""
    FAMILIES.update(dict.fromkeys((family.network.__name__, *family.pipelines), family))


def family_of_folder(folder: Path) -> Family:
    """Return the family of the model in a diffusers folder: that of its pipeline, else that of its network.

    Raises:
        ArtefactError: The folder is not one of diffusers, or no family is known for it.
    """
    index_file, config_file = folder / "model_index.json", folder / "config.json"
    if index_file.exists():
        index = read_mapping(index_file)
        names = [
            index.get("_class_name"),
            *(entry[-1] for entry in index.values() if isinstance(entry, list) and entry),
        ]
        stated = f"its model_index.json says {index.get('unet')}"
    elif config_file.exists():
        names = [read_mapping(config_file).get("_class_name")]
        stated = f"its config.json says {names[0]!r}"
    else:
        raise ArtefactError(f"{folder} is no folder of diffusers: {index_file} does not exist.")
    families = [FAMILIES[name] for name in names if isinstance(name, str) and name in FAMILIES]
    if not families:
        raise ArtefactError(f"{folder} has no {_networks()}; {stated}. {FROM_PYTHON}.")
    return families[0]


def family_of_network(network: nn.Module, purpose: str) -> Family:
    """Return the family of a network.

    Args:
        network: Any network.
        purpose: What is to be done with it, for the message: ``"saved as a diffusers folder"``.

    Raises:
        ModelError: No family is known for it.
    """
    for family in FAMILIES.values():
        if isinstance(network, family.network):
            return family
    raise ModelError(
        f"A {type(network).__name__} can't be {purpose}; a {_networks()} can. Register a family for it "
        "(docs/extending.md)."
    )


def _networks() -> str:
    return " or ".join(dict.fromkeys(family.network.__name__ for family in FAMILIES.values()))
