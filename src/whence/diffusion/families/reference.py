"""A pipeline of diffusers as its own code uses it: what `whence check` and the tests compare a model with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch import Tensor

from whence.diffusion.conditioner import TEXT
from whence.diffusion.flow_matching import FlowMatching


@dataclass(frozen=True)
class Reference:
    """A pipeline that `from_pretrained` opened. This one is of networks without conditions; a family overrides it.

    Attributes:
        pipeline: The pipeline, in float32 on the CPU.
        size: The shape (C, H, W) of the pictures that are drawn.
        clip: Whether the sampler clips.
        guidance: The embedded guidance, where the network takes it.
    """

    pipeline: Any
    size: tuple[int, ...]
    clip: bool = False
    guidance: float | None = None

    @property
    def network(self) -> Any:
        """Its denoising network."""
        return getattr(self.pipeline, "unet", None) or self.pipeline.transformer

    def latents(self, pictures: Tensor) -> Tensor:
        """What its autoencoder makes of pictures in [-1, 1]; pictures themselves without one."""
        autoencoder = getattr(self.pipeline, "vae", None) or getattr(self.pipeline, "vqvae", None)
        if autoencoder is None:
            return pictures
        encoded = autoencoder.encode(pictures)
        mean = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded[0]
        scaled: Tensor = (mean - (autoencoder.config.get("shift_factor") or 0)) * autoencoder.config.scaling_factor
        return scaled

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The conditions of a picture of a prompt by their names in Whence, [1, ...] each, from the pipeline's code."""
        return {}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts under conditions, called as the pipeline calls it."""
        predicted: Tensor = self.network(x_t, t).sample
        return predicted

    def drawn(self, start: Tensor, prompt: str, guidance: float, steps: int) -> Tensor:
        """What DDIM, or Euler's method of a flow, draws from noise: pictures or latents."""
        scheduler = self.pipeline.scheduler if FlowMatching.fits(self.pipeline.scheduler) else self._ddim
        scheduler.set_timesteps(steps)
        x = start
        for t in scheduler.timesteps:
            x = scheduler.step(self._guided(x, t.expand(len(x)), prompt, guidance), t, x).prev_sample
        return x

    def _guided(self, x: Tensor, t: Tensor, prompt: str, guidance: float) -> Tensor:
        """The prediction of a step, where the pipeline can't be started from given noise."""
        return self.output(x, t, self.conditions(prompt))

    @property
    def _ddim(self) -> Any:
        return diffusers.DDIMScheduler.from_config(self.pipeline.scheduler.config, clip_sample=self.clip)


class TextReference(Reference):
    """A pipeline that draws from text: Stable Diffusion, and others by what they override."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The embedded prompt."""
        return {TEXT: self.pipeline.encode_prompt(prompt, "cpu", 1, False)[0]}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts."""
        predicted: Tensor = self.network(x_t, t, conditions[TEXT]).sample
        return predicted

    @torch.no_grad()
    def drawn(self, start: Tensor, prompt: str, guidance: float, steps: int) -> Tensor:
        """What the pipeline itself draws, with DDIM as its scheduler."""
        self.pipeline.scheduler = self._ddim
        height, width = self.size[1:]
        drawn: Tensor = self.pipeline(
            prompt,
            guidance_scale=guidance,
            latents=start,
            output_type="latent",
            height=height,
            width=width,
            num_inference_steps=steps,
            **self._options,
        ).images
        return drawn

    @property
    def _options(self) -> dict[str, Any]:
        """Further arguments of the pipeline, for a drawing of what it is given."""
        return {}
