"""The family of PixArt-alpha and -sigma, which draw latents from text by a transformer (Chen et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.conditioner import TEXT, TextConditioner, no_size
from whence.diffusion.families.dit import require_channels, without_variance
from whence.diffusion.families.family import Family
from whence.diffusion.families.network_call import set_call
from whence.diffusion.families.pipeline_folder import read_autoencoder
from whence.diffusion.families.reference import TextReference
from whence.diffusion.families.stable_diffusion import refuse_write
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.diffusion.text_encoder import EncodedTexts, TextEncoder

#: Pipelines, and how many tokens of T5 each takes.
TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
#: Scale of the guidance of the pipelines where none is given.
GUIDANCE = 4.5
MASK, SIZES = "encoder_attention_mask", ("resolution", "aspect_ratio")


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    require_channels(folder / "transformer")
    network = _by_example(read_network(folder / "transformer", PixArtTransformer2DModel))
    return set_call(network, _arguments, without_variance), read_scheduler(folder)


def _by_example(network: Any) -> nn.Module:
    """Return the network, whose embedding of heights and widths gets them as [n, 2, ...] and no longer as [2 n, ...].

    The numbers are the same, and each row of a layer then belongs to one example, as gradients need it.
    """
    if network.use_additional_conditions:
        network.adaln_single.emb.resolution_embedder.register_forward_pre_hook(_in_pairs)
    evaluated: nn.Module = network
    return evaluated


def _in_pairs(_layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (given[0].reshape(-1, 2, given[0].shape[-1]),)


def _arguments(x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """The sizes go into a dictionary."""
    added = {name: conditions.get(name) for name in SIZES}
    named = {TEXT: conditions[TEXT], MASK: conditions[MASK], "timestep": t, "added_cond_kwargs": added}
    return (x_t,), named


def _join(encoded: Sequence[EncodedTexts]) -> dict[str, Tensor]:
    """The states of T5, and which of them are no padding."""
    return {TEXT: encoded[0].states, MASK: encoded[0].mask}


def _sizes(size: tuple[int, ...]) -> dict[str, Tensor]:
    """Height, width and their ratio, of the models of 1024 pixels; what an image was cut from is no condition."""
    height, width = size[1:3]
    return {SIZES[0]: torch.tensor([[float(height), float(width)]]), SIZES[1]: torch.tensor([[height / width]])}


def lower_case(text: str) -> str:
    """As the pipeline prepares a prompt; it also takes out addresses and markup where ftfy and bs4 are installed."""
    return text.lower().strip()


def _text(folder: Path, adapters: tuple[Adapter, ...] = ()) -> TextConditioner:
    """T5, which does not attend to padding."""
    pipeline = read_mapping(folder / "model_index.json").get("_class_name")
    config = read_mapping(folder / "transformer" / "config.json")
    sized = pipeline == "PixArtAlphaPipeline" and config.get("sample_size") == 128
    encoder = TextEncoder(folder, adapters, length=TOKENS.get(str(pipeline), 300), masked=True)
    return TextConditioner((encoder,), _join, size=_sizes if sized else no_size, prepare=lower_case, guidance=GUIDANCE)


def _untrained(network: Any) -> nn.Module:
    return _by_example(PixArtTransformer2DModel.from_config(network.config))


class _Reference(TextReference):
    """A pipeline of PixArt."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The embedded prompt, its mask, and the sizes where the network takes them."""
        states, mask, _, _ = self.pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, device="cpu")
        height, width = self.size[1:]
        sizes = {
            "resolution": torch.tensor([[height, width]]).float(),
            "aspect_ratio": torch.tensor([[height / width]]),
        }
        return {TEXT: states, MASK: mask} | (sizes if self._sized else {})

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts, without the variance."""
        sizes = {name: conditions.get(name) for name in SIZES}
        returned: Tensor = self.network(
            x_t,
            encoder_hidden_states=conditions[TEXT],
            encoder_attention_mask=conditions[MASK],
            timestep=t,
            added_cond_kwargs=sizes,
        ).sample
        return returned[:, : x_t.shape[1]]

    @property
    def _sized(self) -> bool:
        """Whether the pipeline gives its network sizes."""
        return type(self.pipeline).__name__ == "PixArtAlphaPipeline" and self.network.config.sample_size == 128

    @property
    def _options(self) -> dict[str, Any]:
        return {"use_resolution_binning": False, "clean_caption": False}


PIXART = Family(
    PixArtTransformer2DModel,
    _read,
    refuse_write("pipeline of PixArt"),
    _untrained,
    pipelines=tuple(TOKENS),
    codec=read_autoencoder,
    text=_text,
    reference=_Reference,
)
