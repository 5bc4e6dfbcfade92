"""The codec of latent diffusion: an autoencoder in a folder of diffusers.

It is opened to encode or decode, and not kept, so that it is never in memory together with the denoiser for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.denoiser import pad
from whence.diffusion.folders import read_mapping, read_network
from whence.engine import DEFAULT, one_thread
from whence.errors import ArtefactError, DataError, NotFiniteError
from whence.images import from_pixels, to_pixels

#: Pictures in a canonical batch; the last one is padded, so a latent does not depend on the pictures beside it.
BATCH = 4


@dataclass(frozen=True)
class Autoencoder:
    """An autoencoder of pictures in RGB: with a Gaussian posterior (KL), a codebook (VQ), or neither (DC).

        z = (mean(x) - shift) · scale + deviation(x) · scale · ε        x = decode(z / scale + shift)

    ε is 0 where latents are the mean. With ε from a standard normal, z is ``(latent_dist.sample() - shift) · scale`` of
    diffusers.

    Of a VQ autoencoder z is what is looked up in the codebook when it is decoded, as in latent diffusion
    (Rombach et al. 2022). A deep compression autoencoder (Chen et al. 2025) gives z itself. Autoencoders of other
    latents are subclasses, in the files of their families.

    Attributes:
        folder: What ``save_pretrained`` of the autoencoder wrote.

    Raises:
        ArtefactError: The folder holds no autoencoder of a known class.
    """

    folder: Path
    kinds: ClassVar[tuple[str, ...]] = ("AutoencoderKL", "VQModel", "AutoencoderDC")

    def __post_init__(self) -> None:
        if self.kind not in self.kinds:
            raise ArtefactError(
                f"{self.folder} holds a {self.kind}; expected one of the autoencoders {', '.join(self.kinds)}."
            )

    @cached_property
    def _config(self) -> dict[str, Any]:
        return read_mapping(self.folder / "config.json")

    @property
    def kind(self) -> str:
        """The name of its class."""
        return str(self._config.get("_class_name"))

    @property
    def bound(self) -> float | None:
        """None: latents may have any values."""
        return None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights and the configuration."""
        return artefacts.digest({file.name: artefacts.file_digest(file) for file in self._files})

    @property
    def bytes(self) -> int:
        """The size of weights and configuration on disk."""
        return sum(file.stat().st_size for file in self._files)

    @property
    def _files(self) -> list[Path]:
        """The files of weights and configuration."""
        return sorted([*self.folder.glob("*.safetensors"), self.folder / "config.json"])

    @property
    def factor(self) -> int:
        """How many times a picture is higher and wider than its latents."""
        blocks = self._config.get("block_out_channels") or self._config.get("encoder_block_out_channels") or (0,)
        return 1 << (len(blocks) - 1)

    @property
    def scale(self) -> float:
        """Factor of the latents, which gives them a variance near 1."""
        return float(self._config.get("scaling_factor") or 0.18215)

    @property
    def shift(self) -> float:
        """Subtracted from the latents before they are scaled."""
        return float(self._config.get("shift_factor") or 0.0)

    def picture_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Shape (3, H, W) of the pictures of latents of the shape `size`."""
        return (3, *(self.factor * length for length in size[1:]))

    def example_size(self, resolution: int) -> tuple[int, ...]:
        """Shape (c, h, w) of the latents of pictures of this height and width."""
        return (int(self._config.get("latent_channels", 4)), *(resolution // self.factor,) * 2)

    @property
    def has_deviation(self) -> bool:
        """Whether the posterior is Gaussian (KL)."""
        return self.kind.startswith("AutoencoderKL")

    def encode(self, pixels: Tensor) -> Tensor:
        """Return latents float32 [n, c, h, w] of pictures uint8 [n, C, H, W], grey or in colour: the posterior's mean.

        `posterior` describes the errors.
        """
        return self.posterior(pixels)[0]

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and standard deviation of the latents, float32 [n, c, h, w] each, times `scale`.

        The pictures are uint8 [n, C, H, W], grey or in colour. A VQ autoencoder has no deviation.

        Raises:
            DataError: A side of the pictures is no multiple of `factor`.
            NotFiniteError: A latent is not finite.
        """
        if any(length % self.factor for length in pixels.shape[2:]):
            raise DataError(
                f"The autoencoder in {self.folder} needs sides that are multiples of {self.factor}; the pictures have "
                f"{pixels.shape[3]}x{pixels.shape[2]} pixels. Give --resolution."
            )
        means, deviations = [], []
        with self._open() as network:
            for rows in torch.split(pixels, BATCH):
                mean, deviation = self.encoded(network, _padded(from_pixels(rows).expand(-1, 3, -1, -1)))
                means.append(mean[: len(rows)].cpu())
                if deviation is not None:
                    deviations.append(deviation[: len(rows)].cpu())
        found = torch.cat(means), torch.cat(deviations) if deviations else None
        if not all(values.isfinite().all() for values in found if values is not None):
            raise NotFiniteError(f"The autoencoder in {self.folder} gives latents that are not finite.")
        return found

    def encoded(self, network: Any, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and standard deviation of the latents of pictures [n, 3, H, W] in [-1, 1], by the opened network."""
        found = network.encode(pictures)
        if self.has_deviation:
            return (found.latent_dist.mean - self.shift) * self.scale, found.latent_dist.std * self.scale
        return ((found.latents if self.kind == "VQModel" else found.latent) - self.shift) * self.scale, None

    def decoded(self, network: Any, latents: Tensor) -> Tensor:
        """Pictures [n, 3, H, W] of latents, by the opened network."""
        pictures: Tensor = network.decode(latents / self.scale + self.shift).sample
        return pictures

    def decode(self, x: Tensor) -> np.ndarray:
        """Pictures uint8 [n, 3, H, W] of latents [n, c, h, w]."""
        with self._open() as network:
            batches = [
                self.decoded(network, _padded(rows))[: len(rows)].cpu() for rows in torch.split(x.float(), BATCH)
            ]
        return to_pixels(torch.cat(batches))

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The autoencoder, while it is needed."""
        network: Any = read_network(self.folder, getattr(diffusers, self.kind))
        with one_thread(), torch.inference_mode():
            yield network.to(DEFAULT.device)


def _padded(rows: Tensor) -> Tensor:
    """Return rows as a canonical batch on the device."""
    return pad(rows, BATCH).to(DEFAULT.device)
