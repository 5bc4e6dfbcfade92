"""The family of Stable Diffusion 1.x and 2.x, which draws latents from text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from torch import nn

from whence.config import ModelConfig
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.conditioner import TextConditioner
from whence.diffusion.families.family import FROM_PYTHON, Family, from_config
from whence.diffusion.families.pipeline_folder import read_autoencoder
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.unet import head_size, network_settings
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.text_encoder import TextEncoder
from whence.errors import ModelError

PIPELINE = "StableDiffusionPipeline"
#: Settings of networks that take more than noised latents, a timestep and embedded text, and what that is.
OTHERS = {
    "time_cond_proj_dim": "the guidance scale, as latent consistency models (LCM) do",
    "class_embed_type": "class embeddings",
    "num_class_embeds": "class labels",
    "addition_embed_type": "pooled text, as Stable Diffusion XL does",
}


def new_text_network(config: ModelConfig, size: Sequence[int], features: int) -> UNet2DConditionModel:
    """A network with random weights, for latents of `size` (C, H, W) and text of so many `features` for each token."""
    channels = config.channels or ()
    return UNet2DConditionModel(
        **network_settings(config, size, "CrossAttn"),
        cross_attention_dim=features,
        attention_head_dim=[max(1, width // head_size(channels)) for width in channels],  # the number of heads
    )


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    index = read_mapping(folder / "model_index.json")
    if index.get("_class_name") != PIPELINE:
        raise ModelError(
            f"{folder} is a {index.get('_class_name')}; of the pipelines with a {UNet2DConditionModel.__name__}, "
            f"{PIPELINE} and StableDiffusionXLPipeline are supported. {FROM_PYTHON}, and what the network needs as "
            "conditions."
        )
    require_plain(folder / "unet", read_mapping(folder / "unet" / "config.json"))
    return read_network(folder / "unet", UNet2DConditionModel), read_scheduler(folder)


def require_plain(place: Path, config: dict[str, Any], allowed: Sequence[str] = ()) -> None:
    """Refuse networks that take more than noised latents, a timestep and embedded text, but for settings `allowed`."""
    inputs, outputs = config.get("in_channels", 4), config.get("out_channels", 4)
    if inputs != outputs:
        case = ", as an inpainting model does" if inputs == 9 else ""
        raise ModelError(
            f"The network in {place} takes {inputs} channels and returns {outputs}{case}; expected as many. "
            f"{FROM_PYTHON}, with a network whose forward adds the other channels."
        )
    for name, what in OTHERS.items():
        if config.get(name) is not None and name not in allowed:
            raise ModelError(f"The network in {place} takes {what}. {FROM_PYTHON}, and it as a condition.")
    if config.get("quantization_config") is not None:
        raise ModelError(f"The weights in {place} are quantised. Give a folder with whole weights (float16 or more).")


def text_of(folder: Path, adapters: tuple[Adapter, ...] = ()) -> TextConditioner:
    """The text encoder of a Stable Diffusion pipeline."""
    return TextConditioner((TextEncoder(folder, adapters),))


def refuse_write(pipeline: str) -> Callable[[nn.Module, Any, Path], None]:
    """Return how a family refuses to write whole models."""

    def write(_network: nn.Module, _scheduler: Any, folder: Path) -> None:
        raise ModelError(f"A {pipeline} is not written to {folder}: train an adapter of it instead.")

    return write


STABLE_DIFFUSION = Family(
    UNet2DConditionModel,
    _read,
    refuse_write(PIPELINE),
    from_config(UNet2DConditionModel),
    pipelines=(PIPELINE,),
    codec=read_autoencoder,
    text=text_of,
    reference=TextReference,
)
