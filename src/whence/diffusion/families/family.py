"""Families of networks: what Whence must know of a class of networks to read, write and retrain its models.

`whence.diffusion.folders` reads what all families share: networks and schedulers in the folders of diffusers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.class_names import ClassNames
from whence.diffusion.codec import Codec, Pixels
from whence.diffusion.conditioner import Conditioner
from whence.diffusion.families.reference import Reference
from whence.diffusion.flow_pipeline import FlowPipeline
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.errors import ArtefactError, ConfigError, ModelError

__all__ = ["FROM_PYTHON", "Family", "read_mapping", "read_network", "read_scheduler", "register"]

#: The way out for models that are not read from folders.
FROM_PYTHON = "Give it to Whence from Python: DiffusionModel(network, scheduler, shape)"


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
        codec: From a folder to the codec of its pictures; by default networks denoise the pixels themselves.
        text: From a folder and the adapters on it to what makes conditions of prompts; None, the default, for networks
            without.
        flow: From a network to how its pipeline draws by a flow, and how its diffusers trainer trains.
        shape: From a network to the shape of its examples; None where its configuration says it.
        guide: Sets the embedded guidance of a network; None, the default, where networks take none.
        reference: From a pipeline, the size of its pictures, whether it clips and its embedded guidance to what a model
            of the family is compared with.
    """

    network: type[nn.Module]
    read: Callable[[Path], tuple[nn.Module, Any]]
    write: Callable[[nn.Module, Any, Path], None]
    untrained: Callable[[nn.Module], nn.Module]
    pipelines: tuple[str, ...] = ()
    codec: Callable[[Path], Codec] = lambda _folder: Pixels()
    text: Callable[[Path, tuple[Adapter, ...]], Conditioner | None] = lambda _folder, _adapters: None
    flow: Callable[[Any], FlowPipeline] = lambda _network: FlowPipeline()
    shape: Callable[[Any], tuple[int, ...] | None] = lambda _network: None
    guide: Callable[[Any, float], None] | None = None
    reference: Callable[[Any, tuple[int, ...], bool, float | None], Reference] = Reference

    def conditioner(
        self, folder: Path, adapters: Sequence[Adapter] = (), classes: Path | None = None
    ) -> Conditioner | None:
        """Return what makes conditions of prompts, with the class names of a file where there is one.

        Raises:
            ConfigError: There is a file of classes, and the networks take none.
        """
        found = self.text(folder, tuple(adapters))
        if classes is None:
            return found
        if not isinstance(found, ClassNames):
            raise ConfigError(f"There is a file of classes, {classes}, but {folder} takes no classes. Leave it out.")
        return found.named_by(classes)


def from_config(kind: Any) -> Callable[[Any], nn.Module]:
    """Return the `untrained` of networks that diffusers makes from their configuration; `kind` is their class."""

    def untrained(network: Any) -> nn.Module:
        fresh: nn.Module = kind.from_config(network.config)
        return fresh

    return untrained


#: Families by the class names of their network and of their pipelines.
FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Add a family to the table, in this process; it takes the place of an older one of the same class."""
    FAMILIES.update(dict.fromkeys((family.network.__name__, *family.pipelines), family))


def family_of_folder(folder: Path) -> Family:
    """The family of the model in a diffusers folder: that of its pipeline, else that of its network."""
    index_file, config_file = folder / "model_index.json", folder / "config.json"
    if index_file.exists():
        index = read_mapping(index_file)
        parts = [entry[-1] for entry in index.values() if isinstance(entry, list) and entry]
        names = [index.get("_class_name"), *parts]
        stated = f"its model_index.json says {index.get('unet')}"
    elif config_file.exists():
        names = [read_mapping(config_file).get("_class_name")]
        stated = f"its config.json says {names[0]!r}"
    else:
        raise ArtefactError(f"{folder} is no folder of diffusers: {index_file} does not exist. {_way_out(folder)}")
    families = [FAMILIES[name] for name in names if isinstance(name, str) and name in FAMILIES]
    if not families:
        raise ArtefactError(f"{folder} has no {_networks()}; {stated}. {FROM_PYTHON}.")
    return families[0]


def _way_out(folder: Path) -> str:
    """What a folder is that trainers write beside diffusers folders, and what to do with it."""
    files = sorted(path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/config.json")))
    if any("lora" in name.lower() and name.endswith(".safetensors") for name in files):
        return (
            "It holds LoRA weights, which belong to a base model. whence attribute and whence check take the base "
            f"model with the LoRA weights on top of it: --adapter {folder}. Other commands take whole models."
        )
    networks = [name.removesuffix("/config.json") for name in files if name.endswith("/config.json")]
    if networks:
        return (
            f"It looks like a trainer's checkpoint with the network in {networks[0]}. Give {folder / networks[0]}, "
            "with the folder scheduler/ of the model that was trained copied into it."
        )
    checkpoints = [name for name in files if name.startswith("checkpoint")]
    if checkpoints:
        return f"It holds checkpoints of a trainer; give one of them, such as {folder / checkpoints[0]}."
    return "Give the folder that save_pretrained of a pipeline, or of a network and its scheduler, wrote."


def family_of_network(network: nn.Module, purpose: str) -> Family:
    """The family of a network; `purpose` is for the message: ``"saved as a diffusers folder"``."""
    family = _find(network)
    if family is not None:
        return family
    raise ModelError(
        f"A {type(network).__name__} can't be {purpose}; a {_networks()} can. Register a family for it "
        "(docs/extending.md)."
    )


def _find(network: nn.Module) -> Family | None:
    """The family of a network, if there is one."""
    return next((family for family in FAMILIES.values() if isinstance(network, family.network)), None)


def flow_of_network(network: nn.Module) -> FlowPipeline:
    """How the pipeline of a network's family draws by a flow; networks without a family are plain."""
    family = _find(network)
    return FlowPipeline() if family is None else family.flow(network)


def set_guidance(network: nn.Module, guidance: float) -> None:
    """Set the embedded guidance of a network.

    Raises:
        ConfigError: It takes none.
    """
    family = _find(network)
    takes = getattr(getattr(network, "config", None), "guidance_embeds", False)
    if family is None or family.guide is None or not takes:
        raise ConfigError(f"The {type(network).__name__} takes no embedded guidance. Leave process.guidance out.")
    family.guide(network, guidance)


def _networks() -> str:
    return " or ".join(dict.fromkeys(family.network.__name__ for family in FAMILIES.values()))
