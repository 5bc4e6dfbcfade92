"""Conditioners: from captions, prompts or class names, and the size of a picture, to the conditions of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.text_encoder import EncodedTexts, TextEncoder

#: The embedded tokens of a text, by the name of this condition in diffusers.
TEXT = "encoder_hidden_states"
#: Scale of the guidance of Stable Diffusion's pipeline where none is given.
GUIDANCE = 7.5


class Conditioner(Protocol):
    """Makes the conditions of a network: tensors with a row for each picture, by name.

    The conditions of a text and those of a size have different names. A picture has those of its text and its size.
    """

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that conditions depend on beside text and size."""

    @property
    def adapted(self) -> bool:
        """Whether an adapter changes it."""

    @property
    def guidance(self) -> float:
        """The scale of classifier-free guidance of pictures for which none is given, as in the pipeline; 1 is none."""

    @property
    def kept_length(self) -> int | None:
        """Height and width of the tokens whose prediction keeps its length under guidance; None where none does."""

    def conditions(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The conditions of texts by name, [n, ...] each."""

    def dropped(self) -> dict[str, Tensor]:
        """What stands for a text that is dropped in training, [1, ...] each."""

    def unconditional(self, negative: str) -> dict[str, Tensor]:
        """What pictures are guided away from, [1, ...] each; the negative prompt is empty where there is none."""

    def of_size(self, size: tuple[int, ...]) -> dict[str, Tensor]:
        """The conditions of a picture of the shape (C, H, W), and perhaps of its framing, [1, ...] each."""

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """The texts whose ends are not seen."""


def plain_states(encoded: Sequence[EncodedTexts]) -> dict[str, Tensor]:
    """The hidden states of a single encoder."""
    return {TEXT: encoded[0].states}


def no_size(_size: tuple[int, ...]) -> dict[str, Tensor]:
    """No conditions."""
    return {}


@dataclass(frozen=True)
class TextConditioner:
    """The text encoders of a pipeline, and how a network's conditions are made of what they return.

    Attributes:
        encoders: The encoders.
        join: From what each of them makes of n texts to conditions by name, [n, ...] each.
        zeros: Whether guidance without a negative prompt is away from conditions that are all zero.
        size: From the shape (C, H, W) of a picture, which its framing may follow, to further conditions, [1, ...] each.
        prepare: What texts are turned into before they are encoded.
        guidance: The scale of guidance where none is given, as in the pipeline.
        kept_length: Height and width of the tokens whose prediction keeps its length under guidance; None for none.
    """

    encoders: tuple[TextEncoder, ...]
    join: Callable[[Sequence[EncodedTexts]], dict[str, Tensor]] = plain_states
    zeros: bool = False
    size: Callable[[tuple[int, ...]], dict[str, Tensor]] = no_size
    prepare: Callable[[str], str] = str
    guidance: float = GUIDANCE
    kept_length: int | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of weights, tokenizers, their configurations, and the parts of adapters that change them."""
        digests = {file: digest for encoder in self.encoders for file, digest in encoder.digests.items()}
        adapted = [
            weights.part_fingerprint(encoder.part) for encoder in self.encoders for weights in encoder.adapter_weights
        ]
        return artefacts.digest([digests, adapted])

    @property
    def adapted(self) -> bool:
        """Whether an adapter changes an encoder."""
        return any(encoder.adapter_weights for encoder in self.encoders)

    @property
    def bytes(self) -> int:
        """The size of encoders and tokenizers on disk."""
        return sum(encoder.bytes for encoder in self.encoders)

    @property
    def classes(self) -> dict[str, Any]:
        """Library and class of encoders and tokenizers, by the pipeline's index."""
        return {part: entry for encoder in self.encoders for part, entry in encoder.classes.items()}

    def copy(self, folder: Path) -> None:
        """Copy encoders and tokenizers into the folder of a pipeline."""
        for encoder in self.encoders:
            encoder.copy(folder)

    def conditions(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the conditions of texts by name, [n, ...] each; one encoder after the other is in memory.

        Raises:
            ArtefactError: Weights or a tokenizer are damaged.
            NotFiniteError: An embedding is not finite.
        """
        prepared = [self.prepare(text) for text in texts]
        return self.join([encoder.encode(prepared) for encoder in self.encoders])

    def dropped(self) -> dict[str, Tensor]:
        """The conditions of the empty text."""
        return self.conditions([""])

    def unconditional(self, negative: str) -> dict[str, Tensor]:
        """The conditions of the negative prompt, or zeros where there is none and the pipeline has it so."""
        found = self.conditions([negative])
        return {name: torch.zeros_like(one) for name, one in found.items()} if self.zeros and not negative else found

    def of_size(self, size: tuple[int, ...]) -> dict[str, Tensor]:
        """The conditions of a picture of the shape (C, H, W), [1, ...] each."""
        return self.size(size)

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """The texts that have more tokens than an encoder takes."""
        cut = {text for encoder in self.encoders for text in encoder.truncated([self.prepare(text) for text in texts])}
        return [text for text in texts if self.prepare(text) in cut]
