"""What pictures are compared by: their pixels, or what a vision model sees in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from whence.images import from_pixels
from whence.similarity.embedding import Embedder

#: From pictures uint8 [K, C, H, W] to float64 [K, d].
Features = Callable[[np.ndarray], np.ndarray]


def pixels(pictures: np.ndarray) -> np.ndarray:
    """Return pixels in [0, 1], float64 [K, CHW].

    Example:
        >>> pixels(np.full((2, 1, 1, 2), 255, np.uint8)).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    return pictures.reshape(len(pictures), -1) / 255.0


def embedded(folder: str) -> Features:
    """Return embeddings of length 1, float64 [K, d], by a vision model in a local folder.

    The function refuses, as `whence.similarity.embedding.Embedder` does, a folder that holds no such model.

    Example:
        >>> features = embedded("models/clip")  # is opened when it is first needed
    """

    def features(pictures: np.ndarray) -> np.ndarray:
        shown = from_pixels(torch.from_numpy(np.array(pictures)))
        return np.asarray(_embedder(folder)(shown).double().numpy())

    return features


@lru_cache(maxsize=2)
def _embedder(folder: str) -> Embedder:
    return Embedder.load(folder)
