"""Some rows of the parts of examples: values, conditions and focus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from whence.data import pixel_rows
from whence.diffusion.focus import Focus
from whence.diffusion.latents import Latents
from whence.diffusion.repeated import Repeated
from whence.ragged import Ragged

#: Values, conditions by name, and focus of examples.
Parts = tuple[Tensor | Ragged | Latents, dict[str, Tensor | Repeated], Focus | None]


def place_of(rows: Sequence[int]) -> slice | Tensor:
    """Return rows as an index of tensors: consecutive ones as a slice, which copies nothing."""
    return slice(rows.start, rows.stop) if isinstance(rows, range) and rows.step == 1 else torch.tensor(rows)


def select_rows(
    rows: Sequence[int],
    values: Tensor | Ragged | Latents,
    conditions: Mapping[str, Tensor | Repeated],
    focus: Focus | None,
) -> Parts:
    """Return some rows of values, conditions and focus, in their order."""
    at, index = place_of(rows), torch.tensor(rows)
    chosen = {
        name: condition.select(index) if isinstance(condition, Repeated) else condition[at]
        for name, condition in conditions.items()
    }
    some = values.select(index) if isinstance(values, Latents) else _taken(values, at)
    return some, chosen, None if focus is None else focus.select(index)


def _taken(values: Tensor | Ragged, at: slice | Tensor) -> Tensor | Ragged:
    """Return some rows; many pixels are copied into a temporary file that is mapped, as when images are read."""
    pixels = isinstance(values, Tensor) and values.dtype == torch.uint8
    if not pixels or isinstance(at, slice) or len(at) * values[:1].numel() <= pixel_rows.LARGE:
        return values[at]
    rows = pixel_rows.PixelRows([tuple(values.shape[1:])] * len(at))
    for n in at.tolist():
        rows.add(values[n].numpy())
    return torch.from_numpy(rows.array())
