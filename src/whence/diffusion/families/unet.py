"""The family of ``UNet2DModel``, which draws pictures from noise alone, and its default settings by image size.

Three layouts are read: a pipeline with the subfolders ``unet`` and ``scheduler``; the older one with all files in one
folder; and a network's own folder (``UNet2DModel.save_pretrained``) to which its scheduler was saved too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DDPMPipeline, UNet2DModel
from torch import Tensor, nn

from whence.config import Config, ModelConfig, SamplerConfig, TrainingConfig
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.class_names import ID_TO_LABEL, LABELS, ClassNames
from whence.diffusion.families.family import FROM_PYTHON, Family, from_config
from whence.diffusion.families.reference import Reference
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.errors import ArtefactError, ConfigError, ModelError

#: The weights in a folder that Whence writes.
NETWORK_FILE = "unet/diffusion_pytorch_model.safetensors"


class SizeDefaults(NamedTuple):
    """Defaults for images up to a side: channels per level, largest side with attention, learning rate, batch."""

    side: int
    channels: tuple[int, ...]
    attention: int
    learning_rate: float
    batch: int


#: Few channels at full resolution, where a convolution costs most, leave time for larger batches: on 8x8 digits, at
#: equal time, (16, 64) on batches of 128 draws clearer digits than (32, 64) on batches of 64. Batches of large images
#: are small, so that a step takes about 2 GiB; beyond the last row they shrink with the number of pixels.
SIZES = (
    SizeDefaults(8, (16, 64), 0, 4e-3, 128),
    SizeDefaults(16, (32, 64, 64), 0, 2e-3, 128),
    SizeDefaults(32, (64, 128, 128), 8, 5e-4, 128),
    SizeDefaults(64, (64, 128, 192, 256), 8, 2e-4, 32),
)


def complete_model(config: ModelConfig, size: tuple[int, int, int], text: bool = False) -> ModelConfig:
    """Return the settings of a denoiser with nothing left open, for images of `size` (C, H, W).

    A network of `text` sees it where it has attention; by default in all levels whose side is at most half of the
    images', or at most 8, and in the last level at least.

    Raises:
        ConfigError: The levels don't fit the images, or the channels the groups; or no level would see the text.

    Example:
        >>> complete_model(ModelConfig(), (1, 8, 8)).channels
        (16, 64)
    """
    defaults = _defaults(size)
    channels = config.channels or defaults.channels
    divisor = 1 << (len(channels) - 1)
    if any(length % divisor for length in size[1:]):
        raise ConfigError(
            f"{len(channels)} levels need sides divisible by {divisor}; the images are {'x'.join(map(str, size))} "
            "(C x H x W). Set model.channels to fewer levels, or give --resolution."
        )
    if any(width % config.groups for width in channels):
        raise ConfigError(f"Every level of model.channels {channels} must be divisible by groups {config.groups}.")
    last = max(size[1:]) // divisor
    usual = max(8, max(size[1:]) // 2, last) if text else defaults.attention
    attention = usual if config.attention is None else config.attention
    if text and attention < last:
        raise ConfigError(
            f"With model.attention = {attention} no level of the network sees the captions; give {last} or more."
        )
    return config.model_copy(update={"channels": channels, "attention": attention})


def complete_config(config: Config, size: tuple[int, int, int], text: bool = False) -> Config:
    """Return the settings of a run with nothing left open.

    The sampler's default number of steps fits the timesteps; a flow is drawn by Euler's method.
    """
    changed: dict[str, Any] = {
        "model": complete_model(config.model, size, text),
        "training": complete_training(config.training, size),
    }
    drawing: dict[str, Any] = {}
    if config.sampler.steps == SamplerConfig().steps > config.model.timesteps:
        drawing["steps"] = config.model.timesteps
    if config.model.is_flow and "method" not in config.sampler.said:
        drawing["method"] = "euler"
    if drawing:
        changed["sampler"] = config.sampler.model_copy(update=drawing)
    return config.model_copy(update=changed)


def complete_training(config: TrainingConfig, size: tuple[int, int, int]) -> TrainingConfig:
    """Return the settings of a training with nothing left open, for images of `size` (C, H, W).

    Example:
        >>> complete_training(TrainingConfig(), (1, 8, 8)).learning_rate
        0.004
    """
    defaults = _defaults(size)
    larger = size[1] * size[2] / SIZES[-1].side ** 2
    batch = defaults.batch if larger <= 1 else max(1, int(defaults.batch / larger))
    changed = {
        "learning_rate": config.learning_rate or defaults.learning_rate,
        "batch_size": config.batch_size or batch,
    }
    return config.model_copy(update=changed)


def _defaults(size: tuple[int, int, int]) -> SizeDefaults:
    return next((row for row in SIZES if max(size[1:]) <= row.side), SIZES[-1])


def new_network(config: ModelConfig, size: Sequence[int]) -> UNet2DModel:
    """A network with random weights, from settings with nothing left open, for images of `size` (C, H, W)."""
    channels, attention = config.channels or (), config.attention or 0
    return UNet2DModel(
        **network_settings(config, size, "Attn"),
        add_attention=max(size[1:]) >> (len(channels) - 1) <= attention,
        attention_head_dim=head_size(channels),
    )


def network_settings(config: ModelConfig, size: Sequence[int], attending: str) -> dict[str, Any]:
    """What diffusers calls the settings of a network; `attending` is how the names of blocks with attention begin."""
    channels, attention = config.channels or (), config.attention or 0
    kinds = [attending if max(size[1:]) >> level <= attention else "" for level in range(len(channels))]
    return {
        "sample_size": size[1] if size[1] == size[2] else tuple(size[1:]),
        "in_channels": size[0],
        "out_channels": size[0],
        "layers_per_block": config.layers,
        "block_out_channels": channels,
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "norm_num_groups": config.groups,
        "dropout": config.dropout,
    }


def head_size(channels: Sequence[int]) -> int:
    """Channels of a head of attention."""
    return min(32, *channels)


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    place = network_folder(folder)
    config = read_mapping(place / "config.json")
    require_plain(place, config, classes=config.get("class_embed_type") is None)
    return read_network(place, UNet2DModel), read_scheduler(folder)


def network_folder(folder: Path) -> Path:
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


def require_plain(place: Path, config: dict[str, Any], classes: bool = False) -> None:
    """Refuse networks that are not called as network(x_t, t) with t in 0 ... T-1, or return more than a prediction.

    With `classes` they may have an embedding of class labels.

    Raises:
        ModelError: The network is another one.
    """
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
    if not classes and (config.get("num_class_embeds") is not None or config.get("class_embed_type") is not None):
        raise ModelError(
            f"The network in {place} needs classes in a form that is not read. {FROM_PYTHON}, and as a condition: "
            "class_labels=..."
        )
    if config.get("time_embedding_type") == "fourier":
        raise ModelError(
            f"The network in {place} takes noise levels (time_embedding_type 'fourier'); expected timesteps 0 ... T-1. "
            "Models of variance exploding processes are not supported."
        )


def _classes(folder: Path, _adapters: tuple[Adapter, ...] = ()) -> ClassNames | None:
    """The classes of a network that has an embedding of them; no label is known to stand for no class."""
    count = read_mapping(network_folder(folder) / "config.json").get("num_class_embeds")
    if not isinstance(count, int):
        return None
    index = folder / "model_index.json"
    return ClassNames.of(count, None, read_mapping(index).get(ID_TO_LABEL) if index.exists() else None)


class _Reference(Reference):
    """A network with its scheduler; with class labels where it takes them."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The label by the pipeline's index."""
        if self.network.class_embedding is None:
            return {}
        index = read_mapping(Path(self.pipeline.config["_name_or_path"]) / "model_index.json")
        named = {name: int(label) for label, name in index.get(ID_TO_LABEL, {}).items()}
        return {LABELS: torch.tensor([named.get(prompt, int(prompt) if prompt.isdecimal() else 0)])}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts."""
        predicted: Tensor = self.network(x_t, t, **conditions).sample
        return predicted


def write(network: nn.Module, scheduler: Any, folder: Path) -> None:
    """Write a folder that DDPMPipeline opens."""
    DDPMPipeline(unet=network, scheduler=scheduler).save_pretrained(folder)


UNET = Family(UNet2DModel, _read, write, from_config(UNet2DModel), text=_classes, reference=_Reference)
