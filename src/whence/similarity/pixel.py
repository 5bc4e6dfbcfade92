"""Likeness of pixels: which training images look most like the query. A similarity, not an influence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from whence.data import Dataset
from whence.kernel.kernel import Kernel
from whence.scores.scores import Scores
from whence.similarity.similarity import Measure, require_same_size, similarity, similarity_scores

#: Number of pixels of training images that are held as floats at a time.
CHUNK = 2**23
#: Damping of the pixel kernel, a multiple of the mean eigenvalue.
DAMPING = 0.5


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
    require_same_size(pictures, data)
    values = _likeness(pictures, data, measure)
    if flips:
        # Turning the query is as good as turning every image.
        values = torch.maximum(values, _likeness(pictures.flip(-1), data, measure))
    name = "pixel" if measure == "euclidean" else f"pixel-{measure}"
    return similarity_scores(values, names, data, f"{name} with flips" if flips else name, "likeness of pixels")


def pixel_kernel(pictures: Tensor, names: Sequence[str], data: Dataset) -> Scores:
    """Ridge regression on pixels, S = V_q Vᵀ(VVᵀ + λI)⁻¹ of flattened pixels v in [-1, 1], λ = ½ the mean eigenvalue.

    It is the formula of the tangent kernel with pixels in place of Jacobians: the likeness of the query to n that the
    other training images don't explain. It knows nothing of the diffusion model, so a method that uses the model should
    do better.

    Args:
        pictures: Queries float32 [Q, C, H, W] in [-1, 1].
        names: Query ids, Q.
        data: Training examples, N.

    Returns:
        Unsigned scores [Q, N]; a unit's score is the sum of the scores of its images.

    Raises:
        DataError: The queries have another size than the training images.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits").select(range(50))
        >>> pixel_kernel(digits.images([5]), ["q"], digits).top("q", 1)[0][0] == digits.ids[5]
        True
    """
    require_same_size(pictures, data)
    examples = data.images(range(len(data))).flatten(1)
    values = Kernel(examples, pictures.flatten(1)).scores(DAMPING)
    return similarity_scores(values, names, data, "pixel-kernel", "likeness of pixels", combine="sum")


def _likeness(pictures: Tensor, data: Dataset, measure: Measure) -> Tensor:
    """Return the likeness of every query to every image, float32 [Q, N], computed in float64."""
    chunk = max(1, CHUNK // math.prod(data.size))
    queries = pictures.flatten(1)
    scale = 0.5 if measure == "euclidean" else 1.0  # from distances over [-1, 1] to distances over [0, 1]
    values = torch.empty(len(queries), len(data), dtype=torch.float32)
    for start in range(0, len(data), chunk):
        rows = range(start, min(start + chunk, len(data)))
        values[:, start : start + len(rows)] = scale * similarity(queries, data.images(rows).flatten(1), measure)
    return values
