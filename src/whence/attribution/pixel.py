"""Pixel distance: which training images look most like the query. A similarity, not an influence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from whence.attribution.scores import Estimand, Scores
from whence.data import Dataset
from whence.errors import DataError

#: Pixels of training images that are held as floats at a time.
CHUNK = 2**23


def pixel(pictures: Tensor, names: Sequence[str], data: Dataset, *, flips: bool = False) -> Scores:
    """Negative Euclidean distance over pixels in [0, 1]: score[q, n] = -‖x_q - x_n‖₂.

    With `flips`, the distance to the nearer of the image and its mirror image: -min(‖x_q - x_n‖₂, ‖x_q - flip x_n‖₂).

    Args:
        pictures: Queries float32 [Q, C, H, W] in [-1, 1].
        names: Query ids, Q.
        data: Training examples, N.
        flips: Whether an image also stands for its mirror image, left to right.

    Returns:
        Unsigned scores [Q, N]; a unit's score is that of its closest image.

    Raises:
        DataError: The queries have another size than the training images.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits")
        >>> pixel(digits.images([5]), ["q"], digits).top("q", 1) == [(digits.ids[5], 0.0)]
        True
    """
    if tuple(pictures.shape[1:]) != tuple(data.size):
        raise DataError(f"The queries are {tuple(pictures.shape[1:])}, the training images {data.size} (C, H, W).")
    distances = _distances(pictures, data)
    if flips:
        # Turning the query is as good as turning every image.
        distances = torch.minimum(distances, _distances(pictures.flip(-1), data))
    return Scores(
        scores=-distances,
        queries=tuple(names),
        examples=data.ids,
        units=data.units,
        method="pixel with flips" if flips else "pixel",
        estimand=Estimand("likeness of pixels", "none: a similarity", "none", "none", "example"),
        sign="unsigned",
        combine="max",
    )


def _distances(pictures: Tensor, data: Dataset) -> Tensor:
    """Float32 [Q, N], computed in float64."""
    chunk = max(1, CHUNK // math.prod(data.size))
    queries = pictures.double().flatten(1) / 2
    found = torch.empty(len(queries), len(data), dtype=torch.float32)
    for start in range(0, len(data), chunk):
        rows = range(start, min(start + chunk, len(data)))
        examples = data.images(rows).double().flatten(1) / 2
        found[:, start : start + len(rows)] = torch.cdist(
            queries, examples, compute_mode="donot_use_mm_for_euclid_dist"
        ).float()
    return found
