"""The table of families: from a pipeline's or a network's class to the family that reads it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from whence.diffusion.families.family import Family
from whence.diffusion.families.folder import FROM_PYTHON, read_mapping
from whence.diffusion.families.unet import UNET
from whence.errors import ArtefactError, ModelError

#: Families by the class names of their network and of their pipelines.
FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Add a family to the table, in this process; it takes the place of an older one of the same class."""
    FAMILIES.update(dict.fromkeys((family.network.__name__, *family.pipelines), family))


register(UNET)


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
