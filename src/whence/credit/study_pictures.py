"""The pictures on which a study compares models, checked before any model is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence.config import SamplerConfig
from whence.data import Dataset
from whence.diffusion.checks import EXAMPLES, require_range, require_size
from whence.diffusion.codec import Pixels
from whence.diffusion.examples import Examples
from whence.diffusion.focus import require_no_focus
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError, DataError, ModelError
from whence.images import to_pixels
from whence.ragged import Ragged

#: Settings of a sampler that change more of a picture than its last bits.
DRAWING = ("method", "steps", "clip")


def select_pictures(
    model: DiffusionModel,
    data: Dataset,
    held_out: Dataset | None,
    queries: Examples | None,
    *,
    most: int,
    sampler: SamplerConfig,
) -> dict[str, Dataset | None]:
    """Return the training examples, the first `most` held-out pictures, and the queries as 8-bit pixels, by role.

    Raises:
        ModelError: The model is of latents.
        DataError: Pictures are of another size or range than the model's, or a held-out one is a training example.
        ConfigError: The queries were drawn in another way than `sampler`, with which models will draw them again; or
            only a part of them is to be explained.
    """
    if not isinstance(model.codec, Pixels):
        raise ModelError(
            "Models of coalitions are of pixels, and this one is of latents. Compute shares from its scores: "
            "whence credit compute SCORES DATA."
        )
    require_no_focus(None if queries is None else queries.focus, "a study measures")
    for role, shape in (
        ("training images", data.pixels),
        ("held-out pictures", None if held_out is None else held_out.pixels),
        ("queries", None if queries is None else queries.values),
    ):
        if shape is not None:
            require_size(model, torch.empty(0, *shape.shape[1:]), role)
    require_range(model, data.images(range(min(len(data), EXAMPLES))), data.ids)
    if queries is not None and queries.origin and queries.origin.drawn:
        for name in DRAWING:
            now, before = getattr(sampler, name), getattr(queries.origin.sampler, name)
            if now != before:
                raise ConfigError(
                    f"The queries were drawn with {name} {before!r}; models would draw them again with {now!r}, so "
                    "that even the same model would not draw the same pictures. Give both the same sampler."
                )
    return {
        "data": data,
        "held_out": None if held_out is None or most == 0 else _first_held_out(data, held_out, most),
        "queries": None if queries is None else query_dataset(queries.ids, queries.tensor),
    }


def _first_held_out(data: Dataset, held_out: Dataset, most: int) -> Dataset:
    """Return the first held-out pictures, or raise DataError if one of them is a training example."""
    first, fingerprints = held_out.select(np.arange(min(most, len(held_out)))), set(data.fingerprints)
    both = [name for name, print_ in zip(first.ids, first.fingerprints, strict=True) if print_ in fingerprints]
    if both:
        raise DataError(
            f"{len(both)} of {len(first)} held-out pictures are training examples too, such as {both[0]!r}. Give "
            "pictures that training never saw."
        )
    return first


def query_dataset(names: Sequence[str], pictures: Any, captions: Sequence[str] = ()) -> Dataset:
    """Return queries, uint8 or float32 in [-1, 1] [Q, C, H, W], as a data set of 8-bit pixels, with their prompts.

    Those of several shapes are `Ragged`.
    """
    pixels = pictures.map(_pixels) if isinstance(pictures, Ragged) else _pixels(pictures)
    return Dataset(tuple(names), pixels, (("query",),) * len(names), tuple(captions) or (None,) * len(names))


def _pixels(pictures: Tensor) -> np.ndarray:
    """The 8-bit pixels of pictures."""
    pixels: np.ndarray = to_pixels(pictures) if pictures.is_floating_point() else pictures.numpy()
    return pixels
