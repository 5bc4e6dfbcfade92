"""The family of Stable Diffusion XL, which draws latents from text that two encoders embed (Podell et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.conditioner import TEXT, TextConditioner
from whence.diffusion.families.family import FROM_PYTHON, Family, from_config
from whence.diffusion.families.network_call import set_call
from whence.diffusion.families.pipeline_folder import read_autoencoder
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.stable_diffusion import refuse_write, require_plain
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.text_encoder import EncodedTexts, TextEncoder
from whence.errors import ModelError

PIPELINE = "StableDiffusionXLPipeline"
#: Scale of the guidance of the pipeline where none is given.
GUIDANCE = 5.0
POOLED, SIZES = "text_embeds", "time_ids"


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    place = folder / "unet"
    config = read_mapping(place / "config.json")
    require_plain(place, config, allowed=("addition_embed_type",))
    if config.get("addition_embed_type") != "text_time":
        raise ModelError(
            f"The network in {place} has addition_embed_type = {config.get('addition_embed_type')!r}; {PIPELINE} has "
            f"'text_time'. {FROM_PYTHON}, and what it needs as conditions."
        )
    return set_call(read_network(place, UNet2DConditionModel), _arguments), read_scheduler(folder)


def _arguments(x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """The pooled text and the sizes go into a dictionary."""
    added = {name: conditions[name] for name in (POOLED, SIZES)}
    return (x_t, t), {TEXT: conditions[TEXT], "added_cond_kwargs": added}


def _join(encoded: Sequence[EncodedTexts]) -> dict[str, Tensor]:
    """The states of both encoders side by side, and the pooled text of the second."""
    pooled = encoded[-1].pooled
    assert pooled is not None
    return {TEXT: torch.cat([one.states for one in encoded], -1), POOLED: pooled}


def _sizes(size: tuple[int, ...]) -> dict[str, Tensor]:
    """Return height and width of the original, top and left of the crop, height and width of the target (section 2.2).

    Pictures without a framing count as whole originals of their own size, as in the pipeline where nothing is said.
    """
    shape, framing = size[1:3], size[3:]
    return {SIZES: torch.tensor([[*(framing or (*shape, 0, 0)), *shape]], dtype=torch.float32)}


def _text(folder: Path, adapters: tuple[Adapter, ...] = ()) -> TextConditioner:
    """The two text encoders, of which the penultimate states count."""
    encoders = tuple(
        TextEncoder(folder, adapters, f"text_encoder{number}", f"tokenizer{number}", layer=-2) for number in ("", "_2")
    )
    if encoders[1].classes["text_encoder_2"][-1] != "CLIPTextModelWithProjection":
        raise ModelError(
            f"The text_encoder_2 of {folder} is {encoders[1].classes['text_encoder_2'][-1]}; {PIPELINE} needs a "
            "CLIPTextModelWithProjection."
        )
    zeros = bool(read_mapping(folder / "model_index.json").get("force_zeros_for_empty_prompt", True))
    return TextConditioner(encoders, _join, zeros, _sizes, guidance=GUIDANCE)


class _Reference(TextReference):
    """A `StableDiffusionXLPipeline`."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The embedded prompt, the pooled one and the sizes."""
        states, _, pooled, _ = self.pipeline.encode_prompt(
            prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        own, features = tuple(self.size[1:]), self.pipeline.text_encoder_2.config.projection_dim
        sizes = self.pipeline._get_add_time_ids(own, (0, 0), own, torch.float32, features)
        return {TEXT: states, POOLED: pooled, SIZES: sizes}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts."""
        added = {"text_embeds": conditions[POOLED], "time_ids": conditions[SIZES]}
        predicted: Tensor = self.network(x_t, t, conditions[TEXT], added_cond_kwargs=added).sample
        return predicted


STABLE_DIFFUSION_XL = Family(
    UNet2DConditionModel,
    _read,
    refuse_write(PIPELINE),
    from_config(UNet2DConditionModel),
    pipelines=(PIPELINE,),
    codec=read_autoencoder,
    text=_text,
    reference=_Reference,
)
