"""Latents: the Gaussian posterior of images under an autoencoder, and that of their mirror images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from whence.diffusion.shards import Shards
from whence.errors import ConfigError
from whence.ragged import Ragged

#: Names of the tensors on disk; `MEAN` is the value of an example where nothing is drawn.
MEAN, DEVIATION, MIRRORED, MIRRORED_DEVIATION = "values", "deviation", "mirrored", "mirrored_deviation"


@dataclass(frozen=True, eq=False)
class Latents:
    """What images are encoded as, times the scaling factor of the autoencoder.

        z = μ + σ ε        of the image, or of its mirror image

    Attributes:
        tensors: float32 [N, c, h, w] by name: ``values`` μ and ``deviation`` σ, and ``mirrored`` and
            ``mirrored_deviation`` of the mirror image. A mirror image is encoded; it is no mirrored latent. There are
            no deviations of a VQ autoencoder. Those of several shapes are `Ragged`, all by the same rows.

    Example:
        >>> mean, deviation = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
        >>> latents = Latents({"values": Shards((mean,)), "deviation": Shards((deviation,))})
        >>> latents.x(torch.tensor([0]), noise=torch.full((1, 1, 1, 2), 0.5)).flatten().tolist()
        [0.5, 0.5]
    """

    tensors: Mapping[str, Shards | Ragged]

    def __len__(self) -> int:
        return len(self.tensors[MEAN])

    @property
    def shape(self) -> torch.Size:
        """[N, c, h, w]; a `DataError` if they have several shapes."""
        return self.tensors[MEAN].shape

    @property
    def dtype(self) -> torch.dtype:
        """float32."""
        return self.tensors[MEAN].dtype

    def x(self, rows: Tensor, mirrored: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Return what a network denoises, float32 [n, c, h, w].

        Args:
            rows: Rows of the images, int64 [n], of one shape.
            mirrored: Of which the mirror image is seen, bool [n]; None for none.
            noise: ε [n, c, h, w]; None gives the mean.

        Raises:
            ConfigError: Mirror images are not encoded, or there are no deviations.
            DataError: The rows have several shapes.
        """
        mean = self._rows(MEAN, MIRRORED, rows, mirrored)
        return mean if noise is None else mean + self._rows(DEVIATION, MIRRORED_DEVIATION, rows, mirrored) * noise

    def _rows(self, name: str, mirror: str, rows: Tensor, mirrored: Tensor | None) -> Tensor:
        """Rows of a tensor, or of its mirror image's."""
        wanted = [name] if mirrored is None else [name, mirror]
        missing = [one for one in wanted if one not in self.tensors]
        if missing:
            raise ConfigError(f"Latents have no {missing[0]}, but {', '.join(self.tensors)}. Encode the images anew.")
        found: Tensor | Ragged = self.tensors[name][rows]
        if isinstance(found, Ragged):
            return found.shape
        if mirrored is not None and mirrored.any():
            found[mirrored] = self.tensors[mirror][rows[mirrored]]
        return found

    def needed(self, sampled: bool, mirrored: bool) -> Latents:
        """Return the latents without what training does not use: deviations, or mirror images."""
        names = [MEAN, *([DEVIATION] if sampled else []), *([MIRRORED] if mirrored else [])]
        names += [MIRRORED_DEVIATION] if sampled and mirrored else []
        return Latents({name: self.tensors[name] for name in names})

    def select(self, rows: Tensor) -> Latents:
        """Return those of some images; nothing is read."""
        return Latents({name: _select(shards, rows) for name, shards in self.tensors.items()})


def _select(rows: Shards | Ragged, chosen: Tensor) -> Shards | Ragged:
    """Return some rows of shards, or of shards of several shapes."""
    if isinstance(rows, Shards):
        return rows.select(chosen)
    found = Ragged(rows.parts, rows.place[chosen.numpy()]).without_empty()
    [first, *others] = found.parts
    return found if others else first.select(torch.from_numpy(found.place[:, 1]))
