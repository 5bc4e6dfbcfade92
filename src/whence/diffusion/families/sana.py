"""The family of Sana: a transformer with linear attention, a flow, and Gemma's states of the caption (Xie et al. 2025).

Captions are embedded as in the trainer of diffusers: without the instruction that the pipeline puts before a prompt
where nothing else is said (`complex_human_instruction`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SanaTransformer2DModel
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.conditioner import TEXT, TextConditioner
from whence.diffusion.families.family import FROM_PYTHON, Family, from_config
from whence.diffusion.families.network_call import set_call
from whence.diffusion.families.pipeline_folder import read_autoencoder
from whence.diffusion.families.pixart import MASK, lower_case
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.stable_diffusion import refuse_write
from whence.diffusion.flow_pipeline import FlowPipeline, static_shift
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.text_encoder import EncodedTexts, TextEncoder
from whence.errors import ModelError

PIPELINE = "SanaPipeline"
#: Tokens of Gemma, as the trainer and the pipeline of diffusers have it.
LENGTH = 300
#: Scale of the guidance of the pipeline where none is given.
GUIDANCE = 4.5


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    place = folder / "transformer"
    config = read_mapping(place / "config.json")
    if config.get("guidance_embeds") or config.get("timestep_scale", 1.0) != 1.0:
        raise ModelError(
            f"The network in {place} takes embedded guidance or scaled times, as Sana Sprint does; {PIPELINE} has "
            f"neither. {FROM_PYTHON}."
        )
    return set_call(read_network(place, SanaTransformer2DModel), _arguments), read_scheduler(folder)


def _arguments(x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (x_t,), {"timestep": t, **conditions}


def _text(folder: Path, adapters: tuple[Adapter, ...]) -> TextConditioner:
    """Gemma, which does not attend to padding."""
    encoder = TextEncoder(folder, adapters, length=LENGTH, masked=True)
    return TextConditioner((encoder,), _join, prepare=lower_case, guidance=GUIDANCE)


def _join(encoded: Sequence[EncodedTexts]) -> dict[str, Tensor]:
    """Gemma's states, and which of them are no padding."""
    return {TEXT: encoded[0].states, MASK: encoded[0].mask}


def _flow(network: Any) -> FlowPipeline:
    return FlowPipeline(patch=network.config.patch_size, unshifted=True)


class _Reference(TextReference):
    """A pipeline of Sana, without its instruction and with Euler's method in place of its solver."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The embedded prompt and its mask."""
        states, mask, _, _ = self.pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, device="cpu")
        return {TEXT: states, MASK: mask}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts."""
        predicted: Tensor = self.network(x_t, timestep=t, **conditions).sample
        return predicted

    @torch.no_grad()
    def drawn(self, start: Tensor, prompt: str, guidance: float, steps: int) -> Tensor:
        """What the pipeline itself draws."""
        own, (height, width) = self.pipeline.scheduler, self.size[1:]
        self.pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(own.config, shift=static_shift(own))
        plain = {"use_resolution_binning": False, "complex_human_instruction": None, "output_type": "latent"}
        size = {"height": height, "width": width, "num_inference_steps": steps}
        drawn: Tensor = self.pipeline(prompt, guidance_scale=guidance, latents=start, **size, **plain).images
        return drawn


SANA = Family(
    SanaTransformer2DModel,
    _read,
    refuse_write(PIPELINE),
    from_config(SanaTransformer2DModel),
    pipelines=(PIPELINE,),
    codec=read_autoencoder,
    text=_text,
    reference=_Reference,
    flow=_flow,
)
