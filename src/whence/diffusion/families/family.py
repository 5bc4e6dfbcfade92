"""Families of networks: what Whence must know of a class of networks to read, write and retrain its models.

For all families, networks and schedulers are read from the folders that diffusers writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from whence.artefacts import read_json
from whence.errors import ArtefactError, ModelError, NotFiniteError

#: Weights in one file, or the index of their shards, with the name of their variant (fp16, non_ema, ...).
_WEIGHTS = re.compile(r"diffusion_pytorch_model(?:\.(\w+))?\.safetensors")
_INDEX = re.compile(r"diffusion_pytorch_model\.safetensors\.index(?:\.(\w+))?\.json")
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
            "It holds the LoRA weights of a trainer, which belong to a base model. Put them into it first: "
            "pipeline.load_lora_weights(FOLDER), pipeline.fuse_lora(), pipeline.save_pretrained(OUT)."
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
    for family in FAMILIES.values():
        if isinstance(network, family.network):
            return family
    raise ModelError(
        f"A {type(network).__name__} can't be {purpose}; a {_networks()} can. Register a family for it "
        "(docs/extending.md)."
    )


def _networks() -> str:
    return " or ".join(dict.fromkeys(family.network.__name__ for family in FAMILIES.values()))


def read_network(folder: Path, kind: Any) -> nn.Module:
    """Return the network in its own folder, float32 and in eval mode, from safetensors of any precision or shards.

    Args:
        folder: What ``save_pretrained`` of the network wrote.
        kind: The network's class, a ``ModelMixin`` of diffusers.

    Raises:
        ArtefactError: The weights are missing, damaged, pickled or another network's.
        NotFiniteError: A weight is NaN or infinite.
    """
    form = {"variant": _variant(folder), "use_safetensors": True, "torch_dtype": torch.float32}
    network, loading = _open(folder, kind.from_pretrained, output_loading_info=True, **form)
    for problem, names in loading.items():
        if names:
            raise ArtefactError(
                f"The weights in {folder} are not those of the network in its config.json: "
                f"{problem.replace('_', ' ')}: {names[0]} ({len(names)} in all). Save network and configuration "
                "together, with save_pretrained."
            )
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise NotFiniteError(
                f"The weights {name} of the network in {folder} are not finite; restore them from a copy."
            )
    evaluated: nn.Module = network.eval()
    return evaluated


def read_scheduler(folder: Path) -> Any:
    """The scheduler in a diffusers folder, of its own class; an `ArtefactError` if there is none that can be read."""
    subfolder = folder / "scheduler" if (folder / "scheduler").is_dir() else folder
    file = subfolder / "scheduler_config.json"
    if not file.exists():
        raise ArtefactError(
            f"{folder} has no scheduler ({file} does not exist), so it isn't known how its training images were "
            f"noised. Save the one that the network was trained with: scheduler.save_pretrained({str(subfolder)!r})."
        )
    name = read_mapping(file).get("_class_name")
    scheduler_class: Any = getattr(diffusers, str(name), None)
    if not hasattr(scheduler_class, "from_pretrained") or not str(name).endswith("Scheduler"):
        raise ArtefactError(
            f"{file} is of the class {name!r}, which is no scheduler of diffusers {diffusers.__version__}."
        )
    return _open(subfolder, scheduler_class.from_pretrained)


def read_mapping(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file."""
    mapping = read_json(file)
    if not isinstance(mapping, dict):
        raise ArtefactError(f"{file} is damaged: it holds no mapping.")
    return mapping


def _variant(folder: Path) -> str | None:
    """Which weights to read: those without a variant, else the only variant there is."""
    names = [file.name for file in folder.glob("diffusion_pytorch_model*")]
    matches = [match for name in names if (match := _WEIGHTS.fullmatch(name) or _INDEX.fullmatch(name))]
    variants = sorted({match[1] or "" for match in matches})
    if not variants:
        raise ArtefactError(
            f"{folder / 'diffusion_pytorch_model.safetensors'} is missing. Weights in .bin files are pickled and not "
            "read: load them with diffusers once and save them with save_pretrained(..., safe_serialization=True)."
        )
    if variants[0] and len(variants) > 1:
        raise ArtefactError(
            f"{folder} has the weights of {len(variants)} variants ({', '.join(variants)}). Keep those that are meant."
        )
    return variants[0] or None


def _open(folder: Path, opener: Callable[..., Any], **settings: Any) -> Any:
    try:
        return opener(folder, local_files_only=True, **settings)
    except Exception as error:
        raise ArtefactError(f"{folder} can't be opened by diffusers: {error}") from error
