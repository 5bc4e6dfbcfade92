"""Low-rank weights: the change ΔW = scale · B A of each layer that an adapter changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from whence import artefacts


@dataclass(frozen=True, eq=False)
class LowRank:
    """The change ΔW = scale · B A of the weight W of one layer, of rank r at most.

    Attributes:
        A: [r, I] for a linear layer with I inputs, [r, C, h, w] for a convolution of C channels with a kernel h x w.
        B: [O, r] for a linear layer with O outputs, [O, r, 1, 1] for a convolution.
        scale: The factor, the strength of the adapter included.

    Example:
        >>> import torch
        >>> LowRank(torch.ones(1, 2), torch.ones(3, 1), scale=0.5).delta()
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000],
                [0.5000, 0.5000]])
    """

    A: Tensor
    B: Tensor
    scale: float = 1.0

    def delta(self) -> Tensor:
        """ΔW, in the shape of the layer's weight."""
        product = self.B.flatten(1) @ self.A.flatten(1)
        return self.scale * product.reshape(len(self.B), *self.A.shape[1:])

    @property
    def is_zero(self) -> bool:
        """Whether ΔW is zero, so that nothing is changed."""
        return not bool(self.delta().any())


@dataclass(frozen=True, eq=False)
class AdapterWeights:
    """The low-rank weights of an adapter, by name of the layer.

    Attributes:
        network: Those of the denoising network.
        text_encoder: Those of the text encoder.
        text_encoder_2: Those of the second text encoder of pipelines that have two.
        source: What the adapter is called in messages.
        network_part: What a pipeline calls the network: ``unet`` or ``transformer``.

    Example:
        >>> import torch
        >>> AdapterWeights({"to_q": LowRank(torch.ones(1, 2), torch.ones(3, 1))}).fingerprint[:8]
        '362e51e3'
    """

    network: Mapping[str, LowRank]
    text_encoder: Mapping[str, LowRank] = field(default_factory=dict)
    text_encoder_2: Mapping[str, LowRank] = field(default_factory=dict)
    source: str = "The adapter"
    network_part: str = "unet"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of A, B and scale of the network's layers; adapters in two formats can have the same."""
        return _fingerprint(self.network)

    def of_part(self, part: str) -> Mapping[str, LowRank]:
        """Those of a part: ``network``, ``text_encoder`` or ``text_encoder_2``; none for any other."""
        parts = {"network": self.network, "text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}
        return parts.get(part, {})

    def part_fingerprint(self, part: str) -> str:
        """SHA-256 (hex) of A, B and scale of the layers of a part."""
        return _fingerprint(self.of_part(part))


def _fingerprint(layers: Mapping[str, LowRank]) -> str:
    named = {plain_name(name): layer for name, layer in layers.items()}
    tensors = {f"{name}/{side}": getattr(layer, side) for name, layer in named.items() for side in "AB"}
    scales = {name: float(layer.scale) for name, layer in named.items()}
    return artefacts.digest([artefacts.tensor_digests(tensors), scales])


def plain_name(name: str) -> str:
    """Return the name of a layer as all formats have it: points are underscores, and prefixes of formats are left out.

    Example:
        >>> plain_name("lora_unet_mid_block_attentions_0_proj_in") == plain_name("mid_block.attentions.0.proj_in")
        True
    """
    plain = name.replace(".", "_")
    for prefix in (*FLAT_PREFIXES, "text_model_"):
        plain = plain.removeprefix(prefix)
    return plain


#: Beginnings of names in which kohya's trainer wrote underscores for points; only a network tells which they were.
FLAT_PREFIXES = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")


def common_scale(alpha: float, rank: int, stabilised: bool = False) -> float:
    """Return s = α / r, or α / √r of a rank-stabilised adapter (rsLoRA, Kalajdzievski 2023).

    Example:
        >>> common_scale(8, 4), common_scale(8, 4, stabilised=True)
        (2.0, 4.0)
    """
    return alpha / (math.sqrt(rank) if stabilised else rank)
