"""The family of Stable Diffusion 3 and 3.5: a transformer of latents, a flow, and three text encoders.

    encoder_hidden_states = [ [CLIP₁ | CLIP₂ | 0] ; T5 ]  (one token after the other),    pooled = [CLIP₁ | CLIP₂]

CLIP's are the penultimate hidden states, padded with zeros to the width of T5's (Esser et al. 2024, figure 2). A folder
without T5 has zeros in place of its tokens, as its pipeline does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.conditioner import TEXT, TextConditioner
from whence.diffusion.families.family import Family, from_config
from whence.diffusion.families.network_call import set_call
from whence.diffusion.families.pipeline_folder import read_autoencoder
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.stable_diffusion import refuse_write
from whence.diffusion.flow_pipeline import FlowPipeline
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.text_encoder import EncodedTexts, TextEncoder
from whence.process_config import ProcessConfig

PIPELINE = "StableDiffusion3Pipeline"
#: The pooled embeddings of a text, by the name of this condition in diffusers.
POOLED = "pooled_projections"
#: Tokens of T5, as the trainers of diffusers have it; its pipeline takes 256 where nothing is said.
LENGTH = 77
#: Scale of the guidance of the pipeline where none is given.
GUIDANCE = 7.0
#: The settings of the trainers of diffusers.
TRAINER = ProcessConfig(density="logit_normal", logit_mean=0.0, logit_std=1.0, weighting="none", precondition=True)


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    network = read_network(folder / "transformer", SD3Transformer2DModel)
    return set_call(network, _arguments), read_scheduler(folder)


def _arguments(x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (x_t,), {"timestep": t, **conditions}


def _text(folder: Path, adapters: tuple[Adapter, ...]) -> TextConditioner:
    clip = (
        TextEncoder(folder, adapters, layer=-2),
        TextEncoder(folder, adapters, "text_encoder_2", "tokenizer_2", layer=-2),
    )
    if (read_mapping(folder / "model_index.json").get("text_encoder_3") or [None])[-1] is None:
        width = int(read_mapping(folder / "transformer" / "config.json").get("joint_attention_dim", 4096))
        return TextConditioner(clip, partial(_join, width=width), guidance=GUIDANCE)
    t5 = TextEncoder(folder, adapters, "text_encoder_3", "tokenizer_3", LENGTH)
    return TextConditioner((*clip, t5), _join, guidance=GUIDANCE)


def _join(encoded: Sequence[EncodedTexts], width: int = 0) -> dict[str, Tensor]:
    """The conditions of n texts, from what CLIP's and perhaps T5 make of them; `width` is that of T5's zeros."""
    clip = torch.cat([one.states for one in encoded[:2]], -1)
    t5 = encoded[2].states if len(encoded) > 2 else clip.new_zeros(len(clip), LENGTH, width)
    pooled = [one.pooled for one in encoded[:2] if one.pooled is not None]
    padded = F.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
    return {TEXT: torch.cat([padded, t5], 1), POOLED: torch.cat(pooled, -1)}


def _flow(network: Any) -> FlowPipeline:
    return FlowPipeline(TRAINER, patch=network.config.patch_size, unshifted=True)


class _Reference(TextReference):
    """A pipeline of Stable Diffusion 3, with as many tokens of T5 as in training."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The embedded prompt, and its pooled embeddings."""
        text, _, pooled, _ = self.pipeline.encode_prompt(
            prompt, None, None, do_classifier_free_guidance=False, max_sequence_length=LENGTH
        )
        return {TEXT: text, POOLED: pooled}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts."""
        predicted: Tensor = self.network(x_t, timestep=t, **conditions).sample
        return predicted

    @torch.no_grad()
    def drawn(self, start: Tensor, prompt: str, guidance: float, steps: int) -> Tensor:
        """What the pipeline itself draws."""
        height, width = self.size[1:]
        size = {"height": height, "width": width, "num_inference_steps": steps, "max_sequence_length": LENGTH}
        drawn: Tensor = self.pipeline(
            prompt, negative_prompt="", guidance_scale=guidance, latents=start, output_type="latent", **size
        ).images
        return drawn


STABLE_DIFFUSION_3 = Family(
    SD3Transformer2DModel,
    _read,
    refuse_write(PIPELINE),
    from_config(SD3Transformer2DModel),
    pipelines=(PIPELINE,),
    codec=read_autoencoder,
    text=_text,
    reference=_Reference,
    flow=_flow,
)
