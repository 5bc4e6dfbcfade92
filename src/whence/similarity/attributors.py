"""Attributors: functions from pictures to scores. Those that compare pictures alone, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from whence.data import Dataset
from whence.errors import ConfigError
from whence.kernel.kernel import Kernel
from whence.lazy import torch
from whence.scores.scores import Scores
from whence.similarity.similarity import Measure, comparable_pictures, similarity, similarity_scores

if TYPE_CHECKING:
    from torch import Tensor

#: From pictures float32 [Q, C, H, W] in [-1, 1] and their Q names to scores of training examples or units.
Attributor = Callable[["Tensor", Sequence[str]], Scores]
#: Number of pixels of training images that are held as floats at a time.
CHUNK = 2**23
#: Damping of the pixel kernel, a multiple of the mean eigenvalue.
DAMPING = 0.5


def pixel(
    pictures: Tensor, names: Sequence[str], data: Dataset, *, measure: Measure = "euclidean", flips: bool = False
) -> Scores:
    """Return the likeness of flattened pixels v = 2x - 1 in [-1, 1], x in [0, 1]: unsigned scores [Q, N].

    euclidean: -‖x_q - x_n‖₂ (over [0, 1]);  dot: v_q · v_n;  cosine: v_q · v_n / (‖v_q‖ ‖v_n‖).
    `pictures` are Q queries float32 [Q, C, H, W] in [-1, 1]. With `flips`, an image also stands for its mirror image,
    left to right. A unit's score is that of its most similar image. Dot and cosine are the baselines "raw pixel" of
    D-TRAK's study (Zheng et al. 2024).

    Raises:
        ConfigError: A name is no text.
        DataError: The queries are no pictures in [-1, 1], or have another size than the training images.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits")
        >>> pixel(digits.images([5]), ["q"], digits).top("q", 1) == [(digits.ids[5], 0.0)]
        True
        >>> round(pixel(digits.images([5]), ["q"], digits, measure="cosine").top("q", 1)[0][1], 6)
        1.0
    """
    pictures = comparable_pictures(pictures, names, data)
    values = _likeness(pictures, data, measure)
    if flips:
        # Turning the query is as good as turning every image.
        values = torch.maximum(values, _likeness(pictures.flip(-1), data, measure))
    name = "pixel" if measure == "euclidean" else f"pixel-{measure}"
    return similarity_scores(values, names, data, f"{name} with flips" if flips else name, "likeness of pixels")


def pixel_kernel(pictures: Tensor, names: Sequence[str], data: Dataset) -> Scores:
    """Return the scores of ridge regression on pixels, S = V_q Vᵀ(VVᵀ + λI)⁻¹, λ = ½ the mean eigenvalue: [Q, N].

    It is the formula of the tangent kernel with flattened pixels v in [-1, 1] in place of Jacobians: the likeness of
    the query to n that the other training images don't explain. It knows nothing of the diffusion model, so a method
    that uses the model should do better. Unsigned; a unit's score is the sum of the scores of its images.

    Raises:
        ConfigError: A name is no text.
        DataError: The queries are no pictures in [-1, 1], or have another size than the training images.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits").select(range(50))
        >>> pixel_kernel(digits.images([5]), ["q"], digits).top("q", 1)[0][0] == digits.ids[5]
        True
    """
    pictures = comparable_pictures(pictures, names, data)
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


#: Attributors of a data set that need nothing else, by name.
ATTRIBUTORS: dict[str, Callable[[Dataset], Attributor]] = {
    "pixel": lambda data: partial(pixel, data=data),
    "pixel-dot": lambda data: partial(pixel, data=data, measure="dot"),
    "pixel-cosine": lambda data: partial(pixel, data=data, measure="cosine"),
    "pixel-kernel": lambda data: partial(pixel_kernel, data=data),
    "pixel-flips": lambda data: partial(pixel, data=data, flips=True),
}
#: Measures of the attributors that embed pictures, by name; a colon and the folder of a vision model follow.
EMBEDDINGS: dict[str, Measure] = {"embedding": "euclidean", "embedding-dot": "dot", "embedding-cosine": "cosine"}
#: Name of the attributors that were distilled from scores; a colon and the folder of `whence distil` follow.
RANKER = "ranker"


def is_similarity(name: str) -> bool:
    """Return whether a name is that of an attributor that compares pictures alone.

    Example:
        >>> is_similarity("pixel-cosine"), is_similarity("embedding:clip"), is_similarity("trak")
        (True, True, False)
    """
    kind, colon, _ = name.partition(":")
    return name in ATTRIBUTORS or bool(colon) and kind in (*EMBEDDINGS, RANKER)


def attributor(name: str, data: Dataset) -> Attributor:
    """Return an attributor for training examples: of `ATTRIBUTORS`, or of `EMBEDDINGS`, like ``embedding-dot:FOLDER``.

    ``ranker:FOLDER`` is the one that `distil` made, for the training examples that it was distilled with.

    Raises:
        ConfigError: There is no such attributor.
        ArtefactError, MismatchError: The folder holds no such model or ranker, or a ranker of other examples.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits")
        >>> attributor("pixel", digits)(digits.images([5]), ["q"]).top("q", 1) == [(digits.ids[5], 0.0)]
        True
    """
    from whence.similarity.embedding import Embedder, EmbeddingSimilarity
    from whence.similarity.ranker import Ranker

    kind, colon, folder = name.partition(":")
    if colon and kind == RANKER:
        return Ranker.read(folder, data)
    if colon and kind in EMBEDDINGS:
        return EmbeddingSimilarity(data, Embedder.load(folder), EMBEDDINGS[kind])
    if name not in ATTRIBUTORS:
        known = ", ".join([*ATTRIBUTORS, *(f"{kind}:FOLDER" for kind in (*EMBEDDINGS, RANKER))])
        raise ConfigError(f"There is no attributor {name!r}; there are {known}.")
    return ATTRIBUTORS[name](data)
