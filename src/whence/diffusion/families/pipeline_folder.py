"""Folders of pipelines: the autoencoder in one, and those that Whence writes, with copies of the encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers

from whence import artefacts
from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.conditioner import TextConditioner
from whence.diffusion.folders import read_mapping, read_network
from whence.errors import ArtefactError, ModelError

#: Parts of a Stable Diffusion pipeline that may be left out.
_WITHOUT = dict.fromkeys(("feature_extractor", "image_encoder", "safety_checker"), [None, None])


def write_pipeline(
    folder: Path,
    pipeline: str,
    network: Any,
    scheduler: Any,
    autoencoder: tuple[str, Path],
    text: TextConditioner | None,
) -> None:
    """Write a folder that a pipeline of diffusers opens.

    Args:
        folder: The folder.
        pipeline: The class name of the pipeline.
        network: The network.
        scheduler: Its scheduler.
        autoencoder: The name of the autoencoder in the pipeline, and the folder that it is copied from.
        text: What embeds its text, which is copied; None for a pipeline without text.
    """
    name, source = autoencoder
    network.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    _copy_autoencoder(source, folder / name)
    index: dict[str, Any] = {
        "_class_name": pipeline,
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", type(scheduler).__name__],
        "unet": ["diffusers", type(network).__name__],
        name: ["diffusers", read_mapping(source / "config.json")["_class_name"]],
    }
    if text is not None:
        text.copy(folder)
        index |= {**text.classes, **_WITHOUT, "requires_safety_checker": False}
    artefacts.write_json(folder / "model_index.json", index)


def autoencoder_folder(folder: Path) -> Path:
    """Return where the autoencoder in a pipeline's folder is.

    Raises:
        ArtefactError: There is none.
    """
    if not (folder / "vae" / "config.json").is_file():
        raise ArtefactError(f"{folder} has no autoencoder: {folder / 'vae' / 'config.json'} does not exist.")
    return folder / "vae"


def read_autoencoder(folder: Path) -> Autoencoder:
    """Return the autoencoder of a pipeline's folder.

    Raises:
        ArtefactError: There is none.
        ModelError: Its latents have a mean and a deviation of their own.
    """
    place = autoencoder_folder(folder)
    if read_mapping(place / "config.json").get("latents_mean") is not None:
        raise ModelError(
            f"The autoencoder in {place} has latents_mean and latents_std, which Whence does not follow. Give "
            "a model whose latents are scaled by scaling_factor alone."
        )
    return Autoencoder(place)


def _copy_autoencoder(source: Path, folder: Path) -> None:
    """Copy an autoencoder byte by byte; one in shards or of a variant is saved anew in one file."""
    weights = "diffusion_pytorch_model.safetensors"
    if (source / weights).is_file():
        for name in ("config.json", weights):
            artefacts.copy_file(source / name, folder / name)
    else:
        kind = getattr(diffusers, read_mapping(source / "config.json")["_class_name"])
        network: Any = read_network(source, kind)
        network.save_pretrained(folder)
