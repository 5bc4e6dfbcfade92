"""The family of FLUX.1: a transformer of packed latents, a flow, CLIP's pooled text and T5's tokens.

Latents [c, h, w] are packed two by two into h w / 4 tokens of 4 c numbers. Each token has an id (0, row, column), those
of text have (0, 0, 0). Networks that were distilled with guidance get its scale as a further input (embedded guidance),
in training too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.conditioner import TEXT, TextConditioner
from whence.diffusion.families.family import Family, from_config
from whence.diffusion.families.pipeline_folder import read_autoencoder
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.stable_diffusion import refuse_write
from whence.diffusion.families.stable_diffusion_3 import POOLED
from whence.diffusion.flow_pipeline import FlowPipeline
from whence.diffusion.folders import read_network, read_scheduler
from whence.diffusion.text_encoder import EncodedTexts, TextEncoder
from whence.errors import ModelError
from whence.process_config import ProcessConfig

PIPELINE = "FluxPipeline"
#: Tokens of T5, as the trainers and the pipeline of diffusers have it.
LENGTH = 512
#: Height and width of latents of the pipeline where nothing is said.
SIDE = 128
#: Embedded guidance of the trainers and the pipeline of diffusers.
GUIDANCE = 3.5


class Flux(FluxTransformer2DModel):  # type: ignore[misc]
    """FLUX's transformer as a `Denoiser`: called as ``network(x_t, t, **conditions)`` with latents [n, c, h, w].

    Attributes:
        guidance: The embedded guidance, for networks that take it.
    """

    guidance = GUIDANCE

    def forward(self, x_t: Tensor, t: Tensor, **conditions: Tensor) -> Tensor:
        """The prediction for x_t [n, c, h, w] at timesteps t [n], of the shape of x_t."""
        height, width = x_t.shape[2] // 2, x_t.shape[3] // 2
        row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        ids = torch.stack([torch.zeros_like(row), row, column], -1).reshape(-1, 3).to(x_t)
        embeds = self.config.guidance_embeds
        output = super().forward(
            pack(x_t),
            timestep=t / 1000,
            guidance=torch.full((len(x_t),), self.guidance).to(x_t) if embeds else None,
            img_ids=ids,
            txt_ids=x_t.new_zeros(conditions[TEXT].shape[1], 3),
            **conditions,
        )
        return unpack(output.sample, height, width)


def pack(x: Tensor) -> Tensor:
    """Return latents [n, c, h, w] as tokens [n, h w / 4, 4 c].

    Raises:
        ModelError: A side is odd.

    Example:
        >>> pack(torch.arange(8.0).reshape(1, 1, 2, 4)).tolist()
        [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """
    n, channels, height, width = x.shape
    if height % 2 or width % 2:
        raise ModelError(
            f"FLUX packs latents two by two, and these are {height}x{width}. Give a --resolution for which both sides "
            "are even."
        )
    blocks = x.reshape(n, channels, height // 2, 2, width // 2, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, 4 * channels)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Return tokens [n, rows · columns, 4 c] as latents [n, c, 2 rows, 2 columns]."""
    blocks = tokens.reshape(len(tokens), rows, columns, -1, 2, 2)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, 2 * rows, 2 * columns)


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    return read_network(folder / "transformer", Flux), read_scheduler(folder)


def _text(folder: Path, adapters: tuple[Adapter, ...]) -> TextConditioner:
    t5 = TextEncoder(folder, adapters, "text_encoder_2", "tokenizer_2", LENGTH)
    return TextConditioner((TextEncoder(folder, adapters), t5), _join, guidance=1.0)  # beside embedded guidance


def _join(encoded: Sequence[EncodedTexts]) -> dict[str, Tensor]:
    """The conditions of n texts, from what CLIP and T5 make of them."""
    clip, t5 = encoded
    assert clip.pooled is not None
    return {TEXT: t5.states, POOLED: clip.pooled}


def _shape(network: Any) -> tuple[int, ...]:
    return network.config.in_channels // 4, SIDE, SIDE


def _flow(network: Any) -> FlowPipeline:
    guidance = network.guidance if network.config.guidance_embeds else None
    trainer = ProcessConfig(density="uniform", weighting="none", precondition=False, guidance=guidance)
    return FlowPipeline(trainer, even=True, unshifted=True)


def _guide(network: Any, guidance: float) -> None:
    network.guidance = guidance


class _Reference(TextReference):
    """A pipeline of FLUX, with its own packing."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """T5's tokens of the prompt, and CLIP's pooled embeddings."""
        text, pooled, _ = self.pipeline.encode_prompt(prompt, max_sequence_length=LENGTH)
        return {TEXT: text, POOLED: pooled}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts, out of its tokens."""
        height, width = x_t.shape[2:]
        ids = self.pipeline._prepare_latent_image_ids(1, height // 2, width // 2, x_t.device, x_t.dtype)
        tokens = self.network(
            self._packed(x_t),
            timestep=t / 1000,
            guidance=None if self.guidance is None else torch.full((len(x_t),), self.guidance),
            img_ids=ids,
            txt_ids=torch.zeros(conditions[TEXT].shape[1], 3),
            **conditions,
        ).sample
        return self._unpacked(tokens)

    @torch.no_grad()
    def drawn(self, start: Tensor, prompt: str, guidance: float, steps: int) -> Tensor:
        """What the pipeline itself draws; its scale of guidance by a negative prompt has another name."""
        height, width = self.size[1:]
        tokens = self.pipeline(
            prompt,
            negative_prompt="",
            true_cfg_scale=guidance,
            guidance_scale=self.guidance or GUIDANCE,
            latents=self._packed(start),
            output_type="latent",
            height=height,
            width=width,
            num_inference_steps=steps,
            max_sequence_length=LENGTH,
        ).images
        return self._unpacked(tokens)

    def _packed(self, x: Tensor) -> Tensor:
        packed: Tensor = self.pipeline._pack_latents(x, *x.shape)
        return packed

    def _unpacked(self, tokens: Tensor) -> Tensor:
        height, width = self.size[1:]
        latents: Tensor = self.pipeline._unpack_latents(tokens, height, width, self.pipeline.vae_scale_factor)
        return latents


FLUX = Family(
    Flux,
    _read,
    refuse_write(PIPELINE),
    from_config(Flux),
    pipelines=(PIPELINE, "FluxTransformer2DModel"),
    codec=read_autoencoder,
    text=_text,
    reference=_Reference,
    flow=_flow,
    shape=_shape,
    guide=_guide,
)
