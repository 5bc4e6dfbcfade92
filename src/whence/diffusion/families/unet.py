"""The family of ``UNet2DModel``: pipelines that draw pictures from noise alone (DDPM, DDIM, PNDM, ...).

Three layouts are read: a pipeline with the subfolders ``unet`` and ``scheduler``; the older one with all files in one
folder; and a network's own folder (``UNet2DModel.save_pretrained``) to which its scheduler was saved too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import DDPMPipeline, UNet2DModel
from torch import nn

from whence.config import ModelConfig
from whence.diffusion.families.family import Family
from whence.diffusion.families.folder import FROM_PYTHON, read_mapping, read_network, read_scheduler
from whence.errors import ArtefactError, ModelError

#: The weights in a folder that Whence writes.
NETWORK_FILE = "unet/diffusion_pytorch_model.safetensors"


def new_network(config: ModelConfig, size: Sequence[int]) -> UNet2DModel:
    """Return a network with random weights.

    Args:
        config: Settings with nothing left open.
        size: Channels, height and width of the images.
    """
    channels, attention = config.channels or (), config.attention or 0
    attends = [max(size[1:]) >> level <= attention for level in range(len(channels))]
    return UNet2DModel(
        sample_size=size[1] if size[1] == size[2] else tuple(size[1:]),
        in_channels=size[0],
        out_channels=size[0],
        layers_per_block=config.layers,
        block_out_channels=channels,
        down_block_types=["AttnDownBlock2D" if here else "DownBlock2D" for here in attends],
        up_block_types=["AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)],
        add_attention=attends[-1],
        norm_num_groups=config.groups,
        dropout=config.dropout,
        attention_head_dim=min(32, *channels),
    )


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    place = _network_folder(folder)
    _require_plain(place, read_mapping(place / "config.json"))
    return read_network(place, UNet2DModel), read_scheduler(folder)


def _network_folder(folder: Path) -> Path:
    """Where the network is."""
    if not (folder / "model_index.json").exists():
        return folder
    index = read_mapping(folder / "model_index.json")
    entry = index.get("unet")
    if not isinstance(entry, list) or entry[-1:] != [UNet2DModel.__name__]:
        raise ArtefactError(
            f"{folder} has no {UNet2DModel.__name__}; its model_index.json says {entry}. {FROM_PYTHON}."
        )
    latent = next((name for name in ("vae", "vqvae") if name in index), None)
    if latent:
        raise ModelError(f"The network in {folder} works on latents of its {latent}, not on pictures. {FROM_PYTHON}.")
    return folder / "unet" if (folder / "unet").is_dir() else folder


def _require_plain(place: Path, config: dict[str, Any]) -> None:
    """Refuse networks that are not called as network(x_t, t) with t in 0 ... T-1, or return more than a prediction."""
    inputs, outputs = config.get("in_channels", 3), config.get("out_channels", 3)
    if outputs == 2 * inputs:
        raise ModelError(
            f"The network in {place} returns {outputs} channels for {inputs}: a prediction and a learned variance. "
            f"Whence needs the prediction alone. {FROM_PYTHON}, with a network whose forward leaves the variance out."
        )
    if outputs != inputs:
        raise ModelError(
            f"The network in {place} returns {outputs} channels for {inputs}; expected as many. {FROM_PYTHON}."
        )
    if config.get("num_class_embeds") is not None or config.get("class_embed_type") is not None:
        raise ModelError(
            f"The network in {place} needs class labels. {FROM_PYTHON}, and the labels as a condition: class_labels=..."
        )
    if config.get("time_embedding_type") == "fourier":
        raise ModelError(
            f"The network in {place} takes noise levels (time_embedding_type 'fourier'); expected timesteps 0 ... T-1. "
            "Models of variance exploding processes are not supported."
        )


def _write(network: nn.Module, scheduler: Any, folder: Path) -> None:
    DDPMPipeline(unet=network, scheduler=scheduler).save_pretrained(folder)


def _untrained(network: Any) -> nn.Module:
    fresh: nn.Module = UNet2DModel.from_config(network.config)
    return fresh


UNET = Family(UNet2DModel, _read, _write, _untrained)
