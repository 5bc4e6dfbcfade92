"""Folders that diffusers writes: networks, schedulers and configurations are read from them; their code never runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from whence.artefacts import read_json
from whence.errors import ArtefactError, NotFiniteError

#: Name of the weights of diffusers, without the ending.
WEIGHTS = "diffusion_pytorch_model"


def read_network(folder: Path, kind: Any) -> nn.Module:
    """Return the network in its own folder, float32 and in eval mode, from safetensors of any precision or shards.

    Args:
        folder: What ``save_pretrained`` of the network wrote.
        kind: The network's class, a ``ModelMixin`` of diffusers.

    Raises:
        ArtefactError: The weights are missing, damaged, pickled or another network's.
        NotFiniteError: A weight is NaN or infinite.
    """
    form = {"variant": variant_of(folder), "use_safetensors": True, "torch_dtype": torch.float32}
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


def variant_of(folder: Path, weights: str = WEIGHTS) -> str | None:
    """Return which weights of a name to read: those without a variant (fp16, non_ema ...), else the only one there is.

    Raises:
        ArtefactError: There are none, or several variants and nothing else.
    """
    forms = (rf"{weights}(?:\.(\w+))?\.safetensors", rf"{weights}\.safetensors\.index(?:\.(\w+))?\.json")
    names = [file.name for file in folder.glob(f"{weights}*")]
    matches = [match for name in names for form in forms if (match := re.fullmatch(form, name))]
    variants = sorted({match[1] or "" for match in matches})
    if not variants:
        raise ArtefactError(
            f"{folder / weights}.safetensors is missing. Weights in .bin files are pickled and not read: load them "
            "with their library once and save them with save_pretrained(..., safe_serialization=True)."
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
