"""The family of latent diffusion without conditions: a ``UNet2DModel`` over the latents of an autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import UNet2DModel
from torch import nn

from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.families.family import Family, from_config
from whence.diffusion.families.unet import require_plain, write
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
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


LATENT_DIFFUSION = Family(UNet2DModel, _read, write, from_config(UNet2DModel), pipelines=(PIPELINE,), codec=_codec)
