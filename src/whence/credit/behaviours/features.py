"""What pictures are compared by: their pixels, or the embeddings of a vision model."""

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


def embedding_features(folder: str) -> Features:
    """Return embeddings of length 1, float64 [K, d], by a vision model in a local folder.

    The model is opened at the first call, which refuses a folder that holds no such model
    (`whence.similarity.embedding.Embedder`).

    Example:
        >>> features = embedding_features("models/clip")
    """

    def features(pictures: np.ndarray) -> np.ndarray:
        values = from_pixels(torch.from_numpy(np.array(pictures)))
        return np.asarray(_embedder(folder)(values).double().numpy())

    return features


@lru_cache(maxsize=2)
def _embedder(folder: str) -> Embedder:
    return Embedder.load(folder)
