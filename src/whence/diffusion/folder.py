"""Networks and schedulers from the folders that diffusers writes.

Three layouts are read: a pipeline with the subfolders ``unet`` and ``scheduler``; the older one with all files in one
folder; and a network's own folder (``UNet2DModel.save_pretrained``) to which its scheduler was saved too. Weights are
read from safetensors, in shards or in half precision too, into float32.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import UNet2DModel
from torch import nn

from whence.artefacts import read_json
from whence.errors import ArtefactError, ModelError, NotFiniteError

#: Weights in one file, or the index of their shards, with the name of their variant (fp16, non_ema, ...).
_WEIGHTS = re.compile(r"diffusion_pytorch_model(?:\.(\w+))?\.safetensors")
_INDEX = re.compile(r"diffusion_pytorch_model\.safetensors\.index(?:\.(\w+))?\.json")
_PYTHON = "Give it to Whence from Python: DiffusionModel(network, scheduler, shape)"


def read_network(folder: Path) -> nn.Module:
    """Return the ``UNet2DModel`` in a diffusers folder, float32 and in eval mode.

    Raises:
        ArtefactError: There is none, or its weights are missing, damaged, pickled or another network's.
        ModelError: It is one that needs more than a noised picture and a timestep, or returns more than a prediction.
        NotFiniteError: A weight is NaN or infinite.
    """
    place = _network_place(folder)
    _require_plain(place, _mapping(place / "config.json"))
    network, found = _opened(
        place,
        UNet2DModel.from_pretrained,
        variant=_variant(place),
        use_safetensors=True,
        torch_dtype=torch.float32,
        output_loading_info=True,
    )
    wrong = {kind: names for kind, names in found.items() if names}
    if wrong:
        kind, names = next(iter(wrong.items()))
        raise ArtefactError(
            f"The weights in {place} are not those of the network in its config.json: {kind.replace('_', ' ')}: "
            f"{names[0]} ({len(names)} in all). Save network and configuration together, with save_pretrained."
        )
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise NotFiniteError(
                f"The weights {name} of the network in {place} are not finite; restore them from a copy."
            )
    evaluated: nn.Module = network.eval()
    return evaluated


def read_scheduler(folder: Path) -> Any:
    """Return the scheduler in a diffusers folder, of its own class.

    Raises:
        ArtefactError: There is none, or diffusers can't open it.
    """
    place = folder / "scheduler" if (folder / "scheduler").is_dir() else folder
    file = place / "scheduler_config.json"
    if not file.exists():
        raise ArtefactError(
            f"{folder} has no scheduler ({file} does not exist), so it isn't known how its training images were "
            f"noised. Save the one that the network was trained with: scheduler.save_pretrained({str(place)!r})."
        )
    name = _mapping(file).get("_class_name")
    kind: Any = getattr(diffusers, str(name), None)
    if not hasattr(kind, "from_pretrained") or not str(name).endswith("Scheduler"):
        raise ArtefactError(
            f"{file} is of the class {name!r}, which is no scheduler of diffusers {diffusers.__version__}."
        )
    return _opened(place, kind.from_pretrained)


def _network_place(folder: Path) -> Path:
    """Where the network is."""
    index_file, own = folder / "model_index.json", folder / "config.json"
    if index_file.exists():
        index = _mapping(index_file)
        entry = index.get("unet")
        if not isinstance(entry, list) or entry[-1:] != ["UNet2DModel"]:
            raise ArtefactError(f"{folder} has no UNet2DModel; its model_index.json says {entry}. {_PYTHON}.")
        latent = next((name for name in ("vae", "vqvae") if name in index), None)
        if latent:
            raise ModelError(f"The network in {folder} works on latents of its {latent}, not on pictures. {_PYTHON}.")
        return folder / "unet" if (folder / "unet").is_dir() else folder
    if not own.exists():
        raise ArtefactError(f"{folder} is no folder of diffusers: {index_file} does not exist.")
    name = _mapping(own).get("_class_name")
    if name != "UNet2DModel":
        raise ArtefactError(f"{folder} has no UNet2DModel; its config.json says {name!r}. {_PYTHON}.")
    return folder


def _mapping(file: Path) -> dict[str, Any]:
    found = read_json(file)
    if not isinstance(found, dict):
        raise ArtefactError(f"{file} is damaged: it holds no mapping.")
    return found


def _require_plain(place: Path, config: dict[str, Any]) -> None:
    """Refuse networks that are not called as network(x_t, t) with t in 0 ... T-1, or return more than a prediction."""
    inputs, outputs = config.get("in_channels", 3), config.get("out_channels", 3)
    if outputs == 2 * inputs:
        raise ModelError(
            f"The network in {place} returns {outputs} channels for {inputs}: a prediction and a learned variance. "
            f"Whence needs the prediction alone. {_PYTHON}, with a network whose forward leaves the variance out."
        )
    if outputs != inputs:
        raise ModelError(
            f"The network in {place} returns {outputs} channels for {inputs}; expected as many. {_PYTHON}."
        )
    if config.get("num_class_embeds") is not None or config.get("class_embed_type") is not None:
        raise ModelError(
            f"The network in {place} needs class labels. {_PYTHON}, and the labels as a condition: class_labels=..."
        )
    if config.get("time_embedding_type") == "fourier":
        raise ModelError(
            f"The network in {place} takes noise levels (time_embedding_type 'fourier'); expected timesteps 0 ... T-1. "
            "Models of variance exploding processes are not supported."
        )


def _variant(place: Path) -> str | None:
    """Which weights to read: those without a variant, else the only variant there is."""
    names = [file.name for file in place.glob("diffusion_pytorch_model*")]
    found = [match for name in names if (match := _WEIGHTS.fullmatch(name) or _INDEX.fullmatch(name))]
    variants = sorted({match[1] or "" for match in found})
    if not variants:
        raise ArtefactError(
            f"{place / 'diffusion_pytorch_model.safetensors'} is missing. Weights in .bin files are pickled and not "
            "read: load them with diffusers once and save them with save_pretrained(..., safe_serialization=True)."
        )
    if variants[0] and len(variants) > 1:
        raise ArtefactError(
            f"{place} has the weights of {len(variants)} variants ({', '.join(variants)}). Keep those that are meant."
        )
    return variants[0] or None


def _opened(place: Path, opener: Callable[..., Any], **settings: Any) -> Any:
    try:
        return opener(place, local_files_only=True, **settings)
    except Exception as error:
        raise ArtefactError(f"{place} can't be opened by diffusers: {error}") from error
