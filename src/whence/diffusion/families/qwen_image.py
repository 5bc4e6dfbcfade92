"""The family of Qwen-Image: a transformer of packed latents, a flow, and Qwen 2.5's states of a described task.

Latents [c, h, w] are packed two by two into tokens, as those of FLUX. Each channel has a mean and a deviation:

    z = (mean(x) - m_c) / s_c        x = decode(s_c z + m_c)

The autoencoder is one of videos, which gets a picture as a video of one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import QwenImageTransformer2DModel
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.conditioner import TEXT, TextConditioner
from whence.diffusion.families.family import FROM_PYTHON, Family, from_config
from whence.diffusion.families.flux import SIDE, pack, unpack
from whence.diffusion.families.pipeline_folder import autoencoder_folder
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.stable_diffusion import refuse_write
from whence.diffusion.flow_pipeline import FlowPipeline
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.text_encoder import EncodedTexts, TextEncoder
from whence.errors import ModelError

PIPELINE = "QwenImagePipeline"
MASK = "encoder_hidden_states_mask"
#: Tokens of a text, as the trainer and the pipeline of diffusers have it.
LENGTH = 512
#: The task that a text is put into, by the pipeline, and how many tokens at its beginning have no states.
FORM = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
LEFT_OUT = 34
#: Scale of the guidance of the pipeline where none is given.
GUIDANCE = 4.0
#: Settings of networks that take more than text, times and one picture.
OTHERS = ("guidance_embeds", "zero_cond_t", "use_additional_t_cond", "use_layer3d_rope")


class QwenImage(QwenImageTransformer2DModel):  # type: ignore[misc]
    """Qwen-Image's transformer as a `Denoiser`: called as ``network(x_t, t, **conditions)``, x_t [n, c, h, w]."""

    def forward(self, x_t: Tensor, t: Tensor, **conditions: Tensor) -> Tensor:
        """The prediction for x_t [n, c, h, w] at timesteps t [n], of the shape of x_t."""
        rows, columns = x_t.shape[2] // 2, x_t.shape[3] // 2
        with torch.inference_mode(False):  # positions are kept by the network, and gradients need them too
            self.pos_embed([(1, rows, columns)], max_txt_seq_len=1, device=x_t.device)
        shapes = [[(1, rows, columns)]] * len(x_t)
        output = super().forward(pack(x_t), timestep=t / 1000, img_shapes=shapes, **conditions)
        return unpack(output.sample, rows, columns)


class FrameAutoencoder(Autoencoder):
    """The autoencoder of Qwen-Image, of videos of one frame, with a mean and a deviation of each channel."""

    kinds: ClassVar[tuple[str, ...]] = ("AutoencoderKLQwenImage",)

    @property
    def factor(self) -> int:
        """How many times a picture is higher and wider than its latents."""
        return 1 << len(self._config.get("temperal_downsample", (False, True, True)))

    def example_size(self, resolution: int) -> tuple[int, ...]:
        """Shape (c, h, w) of the latents of pictures of this height and width."""
        return (int(self._config.get("z_dim", 16)), *(resolution // self.factor,) * 2)

    def encoded(self, network: Any, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents of pictures, by the opened network."""
        found, (mean, deviation) = network.encode(pictures[:, :, None]).latent_dist, _channels(network)
        return (found.mean[:, :, 0] - mean) / deviation, found.std[:, :, 0] / deviation

    def decoded(self, network: Any, latents: Tensor) -> Tensor:
        """Pictures [n, 3, H, W] of latents, by the opened network."""
        mean, deviation = _channels(network)
        pictures: Tensor = network.decode((latents * deviation + mean)[:, :, None]).sample[:, :, 0]
        return pictures


def _channels(network: Any) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, [c, 1, 1] each."""
    given = network.config.latents_mean, network.config.latents_std
    mean, deviation = (torch.tensor(one, device=network.device)[:, None, None] for one in given)
    return mean, deviation


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    place = folder / "transformer"
    config = read_mapping(place / "config.json")
    given = [name for name in OTHERS if config.get(name)]
    if given:
        raise ModelError(
            f"The network in {place} has {given[0]}, as those of other pipelines do; that of {PIPELINE} has not. "
            f"{FROM_PYTHON}."
        )
    return read_network(place, QwenImage), read_scheduler(folder)


def _text(folder: Path, adapters: tuple[Adapter, ...]) -> TextConditioner:
    """Qwen 2.5, which does not attend to padding; guidance leaves the length of a token's prediction as it is."""
    encoder = TextEncoder(folder, adapters, length=LENGTH, masked=True, form=FORM, left_out=LEFT_OUT)
    return TextConditioner((encoder,), _join, guidance=GUIDANCE, kept_length=2)


def _join(encoded: Sequence[EncodedTexts]) -> dict[str, Tensor]:
    """Qwen's states, zeros for padding, and which of them are no padding."""
    states, mask = encoded[0].states, encoded[0].mask
    return {TEXT: states * mask[..., None], MASK: mask}


def _flow(_network: Any) -> FlowPipeline:
    return FlowPipeline(even=True, unshifted=True)


def _shape(network: Any) -> tuple[int, ...]:
    return network.config.in_channels // 4, SIDE, SIDE


class _Reference(TextReference):
    """A pipeline of Qwen-Image, with its own packing."""

    def latents(self, pictures: Tensor) -> Tensor:
        """What the pipeline's autoencoder makes of pictures, as the trainer scales it."""
        config, found = self.pipeline.vae.config, self.pipeline.vae.encode(pictures.unsqueeze(2)).latent_dist.mean
        mean, scale = torch.tensor(config.latents_mean), 1.0 / torch.tensor(config.latents_std)
        scaled: Tensor = (found - mean.view(1, -1, 1, 1, 1)) * scale.view(1, -1, 1, 1, 1)
        return scaled.squeeze(2)

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The embedded prompt, which the pipeline does not pad, and which of its tokens are there."""
        states, _ = self.pipeline.encode_prompt(prompt, max_sequence_length=LENGTH)
        missing = LENGTH - states.shape[1]
        return {TEXT: F.pad(states, (0, 0, 0, missing)), MASK: F.pad(torch.ones(states.shape[:2]).long(), (0, missing))}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts, out of its tokens."""
        shapes = [[(1, x_t.shape[2] // 2, x_t.shape[3] // 2)]] * len(x_t)
        tokens = self.network(self._packed(x_t), timestep=t / 1000, img_shapes=shapes, **conditions).sample
        return self._unpacked(tokens)

    @torch.no_grad()
    def drawn(self, start: Tensor, prompt: str, guidance: float, steps: int) -> Tensor:
        """What the pipeline itself draws; its guidance has another name."""
        height, width = self.size[1:]
        size = {"height": height, "width": width, "num_inference_steps": steps, "output_type": "latent"}
        tokens = self.pipeline(prompt, "", true_cfg_scale=guidance, latents=self._packed(start), **size).images
        return self._unpacked(tokens)

    def _packed(self, x: Tensor) -> Tensor:
        packed: Tensor = self.pipeline._pack_latents(x, *x.shape)
        return packed

    def _unpacked(self, tokens: Tensor) -> Tensor:
        height, width = self.size[1:]
        latents: Tensor = self.pipeline._unpack_latents(tokens, height, width, self.pipeline.vae_scale_factor)
        return latents.squeeze(2)


QWEN_IMAGE = Family(
    QwenImage,
    _read,
    refuse_write(PIPELINE),
    from_config(QwenImage),
    pipelines=(PIPELINE, "QwenImageTransformer2DModel"),
    codec=lambda folder: FrameAutoencoder(autoencoder_folder(folder)),
    text=_text,
    reference=_Reference,
    flow=_flow,
    shape=_shape,
)
