"""The files of latents: shards, those of each shape in a folder of their own where there are several.

latents/00000.safetensors ...         latents of one shape
latents/00000/00000.safetensors ...   latents of the first of several shapes; the tensor latents/part of the examples
                                      says which of them each row has
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.shards import Shards, read_shards, write_shards
from whence.ragged import PART, Ragged, join_groups

#: The folder, and the name of the tensor that says which shape each row has.
LATENTS = "latents"
LATENT_PART = f"{LATENTS}/{PART}"


def write_latents(
    folder: Path, groups: Sequence[np.ndarray], make: Callable[[np.ndarray], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Write latents as shards; those that an interrupted call wrote are kept.

    Args:
        folder: The folder of the examples.
        groups: The positions of the rows of each shape.
        make: Returns the latents of some rows of one shape by name.

    Returns:
        The tensor by which they are found again, if they have several shapes.
    """
    part = torch.empty(sum(map(len, groups)), dtype=torch.int64)
    for number, group in enumerate(groups):
        part[torch.from_numpy(group)] = number
        place = folder / LATENTS if len(groups) == 1 else folder / LATENTS / f"{number:05d}"
        write_shards(place, len(group), lambda few, group=group: make(group[few.start : few.stop]))  # type: ignore[misc]
    return {LATENT_PART: part} if len(groups) > 1 else {}


def read_latents(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, Shards | Ragged]:
    """Return the latents in the folder of examples by name, mapped from disk; nothing where there are none."""
    if LATENT_PART not in tensors:
        return dict(read_shards(folder / LATENTS))
    part = tensors[LATENT_PART].numpy()
    groups = [np.flatnonzero(part == number) for number in range(int(part.max()) + 1)]
    shards = [read_shards(folder / LATENTS / f"{number:05d}") for number in range(len(groups))]
    return {name: join_groups([one[name] for one in shards], groups) for name in shards[0]}
