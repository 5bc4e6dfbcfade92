"""Attributors by name: functions from pictures to scores, the one door for every method that is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from whence.attribution.embedding import Embedder
from whence.attribution.embedding_distance import EmbeddingDistance
from whence.attribution.pixel import pixel
from whence.attribution.scores import Scores
from whence.data import Dataset
from whence.errors import ConfigError

#: From pictures float32 [Q, C, H, W] in [-1, 1] and their Q names to scores of training examples or units.
Attributor = Callable[[Tensor, Sequence[str]], Scores]

#: Attributors of a data set that need nothing else, by name.
ATTRIBUTORS: dict[str, Callable[[Dataset], Attributor]] = {
    "pixel": lambda data: partial(pixel, data=data),
    "pixel-flips": lambda data: partial(pixel, data=data, flips=True),
}
#: How the name of an attributor begins that embeds pictures; the folder of its model follows.
EMBEDDING = "embedding:"


def attributor(name: str, data: Dataset) -> Attributor:
    """Return an attributor for the training examples of a data set.

    Args:
        name: A key of `ATTRIBUTORS`, or ``embedding:FOLDER`` with the folder of a vision model.
        data: The training examples.

    Raises:
        ConfigError: There is no such attributor.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits")
        >>> attributor("pixel", digits)(digits.images([5]), ["q"]).top("q", 1) == [(digits.ids[5], 0.0)]
        True
    """
    if name.startswith(EMBEDDING):
        return EmbeddingDistance(data, Embedder.load(name.removeprefix(EMBEDDING)))
    if name not in ATTRIBUTORS:
        known = ", ".join([*ATTRIBUTORS, f"{EMBEDDING}FOLDER"])
        raise ConfigError(f"There is no attributor {name!r}; there are {known}.")
    return ATTRIBUTORS[name](data)
