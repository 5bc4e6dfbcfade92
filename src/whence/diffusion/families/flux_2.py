"""The family of FLUX.2 [klein]: a transformer of patched latents, a flow, and Qwen 3's states of three layers.

Latents [c, h, w] of the autoencoder are patched two by two into [4 c, h/2, w/2], and each channel is normalised by the
running mean and variance of the autoencoder's batch normalisation. Each patch is a token with the id
(0, row, column, 0); the k-th token of the text has (0, 0, 0, k).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import Flux2Transformer2DModel
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.conditioner import TEXT, TextConditioner
from whence.diffusion.families.family import FROM_PYTHON, Family, from_config
from whence.diffusion.families.flux import pack, unpack
from whence.diffusion.families.pipeline_folder import autoencoder_folder
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.stable_diffusion import refuse_write
from whence.diffusion.flow_pipeline import FlowPipeline
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.text_encoder import TextEncoder
from whence.diffusion.tokenizer import CHAT
from whence.errors import ModelError

PIPELINE = "Flux2KleinPipeline"
#: Tokens of a text, and the layers of Qwen 3 whose states count.
LENGTH, LAYERS = 512, (9, 18, 27)
#: Height and width of patched latents of the pipeline where nothing is said.
SIDE = 64
#: Scale of the guidance of the pipeline where none is given; distilled models have none.
GUIDANCE = 4.0


class Flux2(Flux2Transformer2DModel):  # type: ignore[misc]
    """FLUX.2's transformer as a `Denoiser`: called as ``network(x_t, t, **conditions)`` with patches [n, 4 c, h, w]."""

    def forward(self, x_t: Tensor, t: Tensor, **conditions: Tensor) -> Tensor:
        """The prediction for x_t [n, 4 c, h, w] at timesteps t [n], of the shape of x_t."""
        height, width = x_t.shape[2:]
        zero, words = torch.arange(1), torch.arange(conditions[TEXT].shape[1])
        place = torch.cartesian_prod(zero, torch.arange(height), torch.arange(width), zero)
        output = super().forward(
            x_t.flatten(2).transpose(1, 2),
            timestep=t / 1000,
            img_ids=place.to(x_t.device),
            txt_ids=torch.cartesian_prod(zero, zero, zero, words).to(x_t.device),
            **conditions,
        )
        predicted: Tensor = output.sample.transpose(1, 2).unflatten(2, (height, width))
        return predicted


class PatchedAutoencoder(Autoencoder):
    """The autoencoder of FLUX.2, with z = (patched - mean) / deviation by the running values m and v of ``bn``.

    z = (patches(x) - m) / √(v + ε)        x = decode(unpatched(z √(v + ε) + m))
    """

    kinds: ClassVar[tuple[str, ...]] = ("AutoencoderKLFlux2",)

    @property
    def factor(self) -> int:
        """How many times a picture is higher and wider than its patched latents."""
        return 2 * super().factor

    def example_size(self, resolution: int) -> tuple[int, ...]:
        """Shape (4 c, h, w) of the patched latents of pictures of this height and width."""
        return (4 * int(self._config.get("latent_channels", 32)), *(resolution // self.factor,) * 2)

    def encoded(self, network: Any, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the patched latents of pictures, by the opened network."""
        found, (mean, deviation) = network.encode(pictures).latent_dist, _running(network)
        return (patched(found.mean) - mean) / deviation, patched(found.std) / deviation

    def decoded(self, network: Any, latents: Tensor) -> Tensor:
        """Pictures [n, 3, H, W] of patched latents, by the opened network."""
        mean, deviation = _running(network)
        tokens = (latents * deviation + mean).flatten(2).transpose(1, 2)
        pictures: Tensor = network.decode(unpack(tokens, *latents.shape[2:])).sample
        return pictures


def _running(network: Any) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of patched latents, [4 c, 1, 1] each."""
    variance = network.bn.running_var + network.config.batch_norm_eps
    return network.bn.running_mean[:, None, None], variance.sqrt()[:, None, None]


def patched(x: Tensor) -> Tensor:
    """Return latents [n, c, h, w] as patches [n, 4 c, h/2, w/2].

    Example:
        >>> patched(torch.arange(8.0).reshape(1, 1, 2, 4))[0, :, 0, 1].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """
    return pack(x).transpose(1, 2).reshape(len(x), -1, x.shape[2] // 2, x.shape[3] // 2)


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    place = folder / "transformer"
    if read_mapping(place / "config.json").get("guidance_embeds", True):
        raise ModelError(
            f"The network in {place} takes embedded guidance, as that of Flux2Pipeline (FLUX.2 [dev]) does; supported "
            f"is {PIPELINE}. {FROM_PYTHON}."
        )
    return read_network(place, Flux2), read_scheduler(folder)


def _text(folder: Path, adapters: tuple[Adapter, ...]) -> TextConditioner:
    """Qwen 3, which does not attend to padding."""
    encoder = TextEncoder(folder, adapters, length=LENGTH, layer=LAYERS, masked=True, form=CHAT)
    distilled = read_mapping(folder / "model_index.json").get("is_distilled", False)
    return TextConditioner((encoder,), guidance=1.0 if distilled else GUIDANCE)


def _mu(_scheduler: Any, tokens: int, steps: int) -> float:
    """μ of a drawing of so many tokens in so many steps, fitted by the authors."""
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    return float(compute_empirical_mu(tokens, steps))


def _flow(_network: Any) -> FlowPipeline:
    return FlowPipeline(even=True, patch=1, unshifted=True, mu=_mu)


def _shape(network: Any) -> tuple[int, ...]:
    return network.config.in_channels, SIDE, SIDE


class _Reference(TextReference):
    """A pipeline of FLUX.2 [klein], with its own patches and ids."""

    def latents(self, pictures: Tensor) -> Tensor:
        """What the pipeline makes of a picture that it is given."""
        parts = [self.pipeline._encode_vae_image(picture[None], generator=None) for picture in pictures]
        return torch.cat(parts)

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The embedded prompt."""
        return {TEXT: self.pipeline.encode_prompt(prompt)[0]}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts, out of its tokens."""
        ids = self.pipeline._prepare_latent_ids(x_t)
        tokens = self.network(
            self.pipeline._pack_latents(x_t),
            timestep=t / 1000,
            img_ids=ids,
            txt_ids=self.pipeline._prepare_text_ids(conditions[TEXT]),
            **conditions,
        ).sample
        latents: Tensor = self.pipeline._unpack_latents_with_ids(tokens, ids)
        return latents

    @torch.no_grad()
    def drawn(self, start: Tensor, prompt: str, guidance: float, steps: int) -> Tensor:
        """What the pipeline draws, patched and normalised again; a distilled one is guided if that is asked for."""
        self.pipeline.register_to_config(is_distilled=False)
        height, width = self.size[1:]
        size = {"height": height, "width": width, "num_inference_steps": steps, "output_type": "latent"}
        drawn = self.pipeline(prompt=prompt, guidance_scale=guidance, latents=start, **size).images
        mean, deviation = _running(self.pipeline.vae)
        return (patched(drawn) - mean) / deviation


FLUX_2 = Family(
    Flux2,
    _read,
    refuse_write(PIPELINE),
    from_config(Flux2),
    pipelines=(PIPELINE, "Flux2Transformer2DModel"),
    codec=lambda folder: PatchedAutoencoder(autoencoder_folder(folder)),
    text=_text,
    reference=_Reference,
    flow=_flow,
    shape=_shape,
)
