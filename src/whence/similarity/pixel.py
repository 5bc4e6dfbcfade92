"""Likeness of pixels: which training images look most like the query. A similarity, not an influence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from whence.data import Dataset
from whence.errors import DataError
from whence.scores.scores import Estimand, Scores
from whence.similarity.measure import Measure, similarity

#: Pixels of training images that are held as floats at a time.
CHUNK = 2**23


def pixel(
    pictures: Tensor, names: Sequence[str], data: Dataset, *, measure: Measure = "euclidean", flips: bool = False
) -> Scores:
    """Likeness of flattened pixels v = 2x - 1 in [-1, 1], x in [0, 1].

    euclidean: -‖x_q - x_n‖₂ (over [0, 1]);  dot: v_q · v_n;  cosine: v_q · v_n / (‖v_q‖ ‖v_n‖).
    With `flips`, that of the image or of its mirror image, whichever is more alike. Dot and cosine are the baselines
    "raw pixel" of D-TRAK's study (Zheng et al. 2024).

    Args:
        pictures: Queries float32 [Q, C, H, W] in [-1, 1].
        names: Query ids, Q.
        data: Training examples, N.
        measure: How likeness is measured.
        flips: Whether an image also stands for its mirror image, left to right.

    Returns:
        Unsigned scores [Q, N]; a unit's score is that of its most similar image.

    Raises:
        DataError: The queries have another size than the training images.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits")
        >>> pixel(digits.images([5]), ["q"], digits).top("q", 1) == [(digits.ids[5], 0.0)]
        True
        >>> round(pixel(digits.images([5]), ["q"], digits, measure="cosine").top("q", 1)[0][1], 6)
        1.0
    """
    if tuple(pictures.shape[1:]) != tuple(data.size):
        raise DataError(f"The queries are {tuple(pictures.shape[1:])}, the training images {data.size} (C, H, W).")
    found = _likeness(pictures, data, measure)
    if flips:
        # Turning the query is as good as turning every image.
        found = torch.maximum(found, _likeness(pictures.flip(-1), data, measure))
    name = "pixel" if measure == "euclidean" else f"pixel-{measure}"
    return Scores(
        scores=found,
        queries=tuple(names),
        examples=data.ids,
        units=data.units,
        method=f"{name} with flips" if flips else name,
        estimand=Estimand("likeness of pixels", "none: a similarity", "none", "none", "example"),
        sign="unsigned",
        combine="max",
    )


def _likeness(pictures: Tensor, data: Dataset, measure: Measure) -> Tensor:
    """Float32 [Q, N], computed in float64."""
    chunk = max(1, CHUNK // math.prod(data.size))
    queries = pictures.flatten(1)
    scale = 0.5 if measure == "euclidean" else 1.0  # from distances over [-1, 1] to distances over [0, 1]
    found = torch.empty(len(queries), len(data), dtype=torch.float32)
    for start in range(0, len(data), chunk):
        rows = range(start, min(start + chunk, len(data)))
        found[:, start : start + len(rows)] = scale * similarity(queries, data.images(rows).flatten(1), measure)
    return found
