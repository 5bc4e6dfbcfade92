"""The most alike training images by an attributor that compares pictures alone, one block of images at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from whence.data import Dataset
from whence.errors import ConfigError
from whence.kernel.algebra import BLOCK
from whence.lazy import torch
from whence.scores.ends import ScoreEnds
from whence.scores.make_ends import make_ends
from whence.scores.tally import Tally
from whence.scores.unit_totals import Membership, are_examples
from whence.similarity.attributors import ATTRIBUTORS, EMBEDDINGS, Attributor, attributor

if TYPE_CHECKING:
    from torch import Tensor

#: Attributors whose scores of an image depend on all others.
WHOLE = ("pixel-kernel",)


def similarity_top(name: str, data: Dataset, pictures: Tensor, names: Sequence[str], top: int) -> ScoreEnds:
    """Return the K most alike training images of every query, and the scores of units, as of the whole scores.

    Args:
        name: Name of an attributor.
        data: The training images, N.
        pictures: The queries, float32 [Q, C, H, W] in [-1, 1].
        names: Their names, Q.
        top: K.

    Raises:
        ConfigError: There is no such attributor, or its scores of an image depend on all others.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits")
        >>> ends = similarity_top("pixel", digits, digits.images([5]), ["q"], 2)
        >>> ends.top("q", 1) == [(digits.ids[5], 0.0)]
        True
    """
    make = _maker(name)
    membership = None if are_examples(data.units) else Membership.of(data.units)
    tally = Tally.of(len(names), top, membership, signed=False, additive=False)
    for first in range(0, len(data), BLOCK):
        rows = range(first, min(first + BLOCK, len(data)))
        scores = make(data.select(rows))(pictures, names)
        tally.add(scores.scores, torch.arange(rows.start, rows.stop))
    stated = {field: getattr(scores, field) for field in ("method", "estimand", "sign", "combine", "draws")}
    return make_ends(tally, names, data.ids, data.units, top=top, errors=False, **stated)


def _maker(name: str) -> Callable[[Dataset], Attributor]:
    """Return a function from some images to their attributor; a vision model is read once."""
    from whence.similarity.embedding import Embedder, EmbeddingSimilarity

    if name in WHOLE:
        raise ConfigError(
            f"Scores of {name} of an image depend on all others at once, so there is no --top of them. Leave out "
            f"--method {name}, or --top."
        )
    kind, colon, folder = name.partition(":")
    if colon and kind in EMBEDDINGS:
        embedder = Embedder.load(folder)
        return lambda data: EmbeddingSimilarity(data, embedder, EMBEDDINGS[kind])
    return ATTRIBUTORS[name] if name in ATTRIBUTORS else lambda data: attributor(name, data)
