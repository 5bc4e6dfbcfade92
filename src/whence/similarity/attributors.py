"""Attributors: functions from pictures to scores. Those that compare pictures alone, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from whence.data import Dataset
from whence.errors import ConfigError
from whence.scores.scores import Scores
from whence.similarity.embedding import Embedder, EmbeddingSimilarity
from whence.similarity.pixel import pixel, pixel_kernel
from whence.similarity.similarity import Measure

#: From pictures float32 [Q, C, H, W] in [-1, 1] and their Q names to scores of training examples or units.
Attributor = Callable[[Tensor, Sequence[str]], Scores]

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


def is_similarity(name: str) -> bool:
    """Return whether a name is that of an attributor that compares pictures alone.

    Example:
        >>> is_similarity("pixel-cosine"), is_similarity("embedding:clip"), is_similarity("trak")
        (True, True, False)
    """
    kind, colon, _ = name.partition(":")
    return name in ATTRIBUTORS or bool(colon) and kind in EMBEDDINGS


def attributor(name: str, data: Dataset) -> Attributor:
    """Return an attributor for the training examples of a data set.

    Args:
        name: A key of `ATTRIBUTORS`, or one of `EMBEDDINGS` with a folder, like ``embedding-cosine:FOLDER``.
        data: The training examples.

    Raises:
        ConfigError: There is no such attributor.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits")
        >>> attributor("pixel", digits)(digits.images([5]), ["q"]).top("q", 1) == [(digits.ids[5], 0.0)]
        True
    """
    kind, colon, folder = name.partition(":")
    if colon and kind in EMBEDDINGS:
        return EmbeddingSimilarity(data, Embedder.load(folder), EMBEDDINGS[kind])
    if name not in ATTRIBUTORS:
        known = ", ".join([*ATTRIBUTORS, *(f"{kind}:FOLDER" for kind in EMBEDDINGS)])
        raise ConfigError(f"There is no attributor {name!r}; there are {known}.")
    return ATTRIBUTORS[name](data)
