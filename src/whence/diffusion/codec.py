"""A codec: between pictures and what a network denoises, which are pixels or the latents of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from whence.images import from_pixels, to_pixels


class Codec(Protocol):
    """Encodes pictures into what a network denoises, and decodes it."""

    @property
    def bound(self) -> float | None:
        """Largest size of a value of a clean example; None if there is none."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the encoding depends on beside the picture, or a name of it."""

    def picture_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Shape (C, H, W) of the pictures of examples of the shape `size`."""

    def example_size(self, resolution: int) -> tuple[int, ...] | None:
        """Shape of examples of pictures of this height and width; None if the network decides about it."""

    @property
    def has_deviation(self) -> bool:
        """Whether pictures have a posterior with a deviation."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Examples float32 [n, ...] of pictures uint8 [n, C, H, W]; the mean where they have a posterior."""

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and standard deviation of the posterior of pictures, [n, ...] each; None where there is no deviation."""

    def decode(self, x: Tensor) -> np.ndarray:
        """Pictures uint8 [n, C, H, W] of examples [n, ...]."""


@dataclass(frozen=True)
class Pixels:
    """The codec of networks that denoise the pictures themselves, scaled from 0 ... 255 to [-1, 1].

    Example:
        >>> import torch
        >>> Pixels().decode(Pixels().encode(torch.tensor([0, 127, 255], dtype=torch.uint8))).tolist()
        [0, 127, 255]
    """

    bound: float | None = 1.0
    fingerprint: str = "pixels"
    has_deviation: bool = False

    def picture_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the examples themselves."""
        return size

    def example_size(self, resolution: int) -> None:
        """None: a network of pixels draws the size that it was trained on."""

    def encode(self, pixels: Tensor) -> Tensor:
        """X = pixel / 127.5 - 1, float32."""
        return from_pixels(pixels)

    def posterior(self, pixels: Tensor) -> tuple[Tensor, None]:
        """X itself."""
        return self.encode(pixels), None

    def decode(self, x: Tensor) -> np.ndarray:
        """The nearest pixel of x, clamped to [-1, 1]; uint8."""
        return to_pixels(x)
