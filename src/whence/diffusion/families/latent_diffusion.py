"""The family of latent diffusion without conditions: a ``UNet2DModel`` over the latents of an autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
from diffusers import UNet2DModel
from torch import nn

from whence import artefacts
from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.families.family import Family
from whence.diffusion.families.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.families.unet import require_plain, untrained, write
from whence.errors import ArtefactError

PIPELINE = "LDMPipeline"


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    require_plain(folder / "unet", read_mapping(folder / "unet" / "config.json"))
    return read_network(folder / "unet", UNet2DModel), read_scheduler(folder)


def _codec(folder: Path) -> Autoencoder:
    return Autoencoder(find_autoencoder(folder))


def find_autoencoder(folder: Path) -> Path:
    """Return the folder of the autoencoder in a pipeline's folder, or the folder itself if it is an autoencoder's.

    Raises:
        ArtefactError: There is none.
    """
    for place in (folder / "vqvae", folder / "vae", folder):
        if (place / "config.json").is_file():
            return place
    raise ArtefactError(f"{folder} has no autoencoder: there is neither a folder vqvae/ nor vae/ in it.")


def write_pipeline(network: Any, scheduler: Any, autoencoder: Path, folder: Path) -> None:
    """Write a folder that LDMPipeline opens, with a copy of the autoencoder in a folder."""
    network.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    _copy(autoencoder, folder / "vqvae")
    index = {
        "_class_name": PIPELINE,
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", type(scheduler).__name__],
        "unet": ["diffusers", UNet2DModel.__name__],
        "vqvae": ["diffusers", read_mapping(autoencoder / "config.json")["_class_name"]],
    }
    artefacts.write_json(folder / "model_index.json", index)


def _copy(autoencoder: Path, folder: Path) -> None:
    """Copy an autoencoder byte by byte; one in shards or of a variant is saved anew in one file."""
    weights = "diffusion_pytorch_model.safetensors"
    if (autoencoder / weights).is_file():
        for name in ("config.json", weights):
            artefacts.copy_file(autoencoder / name, folder / name)
    else:
        kind = getattr(diffusers, read_mapping(autoencoder / "config.json")["_class_name"])
        network: Any = read_network(autoencoder, kind)
        network.save_pretrained(folder)


LATENT_DIFFUSION = Family(UNet2DModel, _read, write, untrained, pipelines=(PIPELINE,), codec=_codec)
