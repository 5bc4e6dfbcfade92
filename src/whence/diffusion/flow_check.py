"""The check of a model of a flow against its pipeline of diffusers: Stable Diffusion 3 and FLUX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from whence.diffusion.conditioner import TEXT
from whence.diffusion.families.flux import LENGTH as FLUX_LENGTH
from whence.diffusion.families.flux import PIPELINE as FLUX
from whence.diffusion.families.stable_diffusion_3 import LENGTH, POOLED
from whence.diffusion.families.stable_diffusion_3 import PIPELINE as STABLE_DIFFUSION_3
from whence.diffusion.pipeline_check import GUIDANCE, PipelineCheck

#: Pipelines that this check is for.
PIPELINES = (STABLE_DIFFUSION_3, FLUX)


class FlowCheck(PipelineCheck):
    """As `PipelineCheck`. The loss is by the scheduler's own sigmas, with the weight of the settings."""

    @property
    def _is_flux(self) -> bool:
        return type(self.pipeline).__name__ == FLUX

    @property
    def _guidance(self) -> Tensor | None:
        """The embedded guidance, where the network takes it."""
        own = self.model.process.record().get("guidance")
        return None if own is None else torch.tensor([float(own)])

    def _embedded(self, prompt: str) -> dict[str, Tensor]:
        """The conditions that the pipeline makes of a prompt, by name."""
        if self._is_flux:
            text, pooled, _ = self.pipeline.encode_prompt(prompt, max_sequence_length=FLUX_LENGTH)
        else:
            options = {"do_classifier_free_guidance": False, "max_sequence_length": LENGTH}
            text, _, pooled, _ = self.pipeline.encode_prompt(prompt, None, None, **options)
        return {TEXT: text, POOLED: pooled}

    def _loss(self, x: Tensor, t: Tensor, noise: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """The loss by the pipeline's network, on the way from x to the noise."""
        sigma = (t / self.model.process.timesteps).reshape(-1, 1, 1, 1)
        output = self._output(sigma * noise + (1 - sigma) * x, t, conditions)
        squares: Tensor = (output - (noise - x)).square().flatten(1).mean(1)
        return squares * self.model.process.weight(t).float()

    def _output(self, x_t: Tensor, t: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """What the pipeline's network returns, in the shape of x_t."""
        if not self._is_flux:
            output: Tensor = self.pipeline.transformer(x_t, timestep=t, **conditions).sample
            return output
        _, channels, height, width = x_t.shape
        packed = self.pipeline._pack_latents(x_t, 1, channels, height, width)
        ids = self.pipeline._prepare_latent_image_ids(1, height // 2, width // 2, x_t.device, x_t.dtype)
        text = torch.zeros(conditions[TEXT].shape[1], 3)
        extra = {"img_ids": ids, "txt_ids": text, "guidance": self._guidance}
        output = self.pipeline.transformer(packed, timestep=t / 1000, **extra, **conditions).sample
        return self._unpacked(output)

    def _unpacked(self, tokens: Tensor) -> Tensor:
        """Tokens of FLUX as latents."""
        height, width = self.model.codec.picture_size(self.model.size)[1:]
        latents: Tensor = self.pipeline._unpack_latents(tokens, height, width, self.pipeline.vae_scale_factor)
        return latents

    def _drawn(self, start: Tensor) -> Tensor:
        """What the pipeline draws from the same noise."""
        height, width = self.model.codec.picture_size(self.model.size)[1:]
        options: dict[str, Any] = {"height": height, "width": width, "num_inference_steps": self.sampler.steps}
        options |= {"prompt": self.prompt, "negative_prompt": "", "output_type": "latent"}
        if not self._is_flux:
            options |= {"guidance_scale": GUIDANCE, "max_sequence_length": LENGTH}
            drawn: Tensor = self.pipeline(latents=start, **options).images
            return drawn
        packed = self.pipeline._pack_latents(start, *start.shape)
        options |= {} if self._guidance is None else {"guidance_scale": float(self._guidance)}
        options |= {"true_cfg_scale": GUIDANCE, "max_sequence_length": FLUX_LENGTH}
        return self._unpacked(self.pipeline(latents=packed, **options).images)
