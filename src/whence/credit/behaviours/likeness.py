"""Likeness of pictures: what they are compared by, and how like a picture is what a model draws from the same noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.images import from_pixels
from whence.lazy import ndimage, torch

if TYPE_CHECKING:
    from whence.similarity.embedding import Embedder

#: From pictures uint8 [K, C, H, W] to float64 [K, d].
Features = Callable[[np.ndarray], np.ndarray]
#: Width of the Gaussian window of structural similarity, and where it is cut: 11 x 11 pixels.
SIGMA, RADIUS = 1.5, 5
C1, C2 = 0.01**2, 0.03**2


def pixels(pictures: np.ndarray) -> np.ndarray:
    """Return pixels in [0, 1], float64 [K, CHW]."""
    return pictures.reshape(len(pictures), -1) / 255.0


def embedding_features(folder: str) -> Features:
    """Return the function to embeddings of length 1, float64 [K, d], by a vision model in a local folder.

    The model is opened at the first call, which refuses a folder that holds no such model.
    """

    def features(pictures: np.ndarray) -> np.ndarray:
        values = from_pixels(torch.from_numpy(np.array(pictures)))
        return np.asarray(_embedder(folder)(values).double().numpy())

    return features


@lru_cache(maxsize=2)
def _embedder(folder: str) -> Embedder:
    from whence.similarity.embedding import Embedder

    return Embedder.load(folder)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance over pixels in [0, 1] of pictures uint8 [G, C, H, W], float64 [G]."""
    norms: np.ndarray = np.linalg.norm(pixels(a) - pixels(b), axis=1)
    return norms


def structural_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mean structural similarity (Wang et al. 2004, eq. 13 to 17) of pictures uint8 [G, C, H, W], [G].

    SSIM = (2 μ_a μ_b + C1)(2 σ_ab + C2) / ((μ_a² + μ_b² + C1)(σ_a² + σ_b² + C2)) at every pixel of every channel, with
    means, variances and the covariance in a Gaussian window of 11 x 11 pixels (σ = 1.5; mirrored at the border),
    C1 = 0.01² and C2 = 0.03² for pixels in [0, 1]; then the mean, in [-1, 1], 1 for equal pictures.
    """
    x, y = a / 255.0, b / 255.0

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(
            ndimage.gaussian_filter(values, (0, 0, SIGMA, SIGMA), mode="reflect", radius=(0, 0, RADIUS, RADIUS))
        )

    mean_x, mean_y = local(x), local(y)
    variances = local(x * x) - mean_x**2 + local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1) * (2 * covariance + C2) / (variances + C2)
    means: np.ndarray = likeness.mean((1, 2, 3))
    return means


DISTANCE = Behaviour(
    "distance",
    "Likeness to the picture: minus the distance of what is drawn from the same noise",
    "Euclidean distance of pixels in [0, 1]",
    "picture",
    frozenset({"redrawn"}),
    lambda context: lambda measurement: -distances(measurement.redrawn, context.drawn_queries),
    meaning="How close the model comes to this picture when it draws again from the same noise. Numbers are below "
    "zero: nearer to zero is closer.",
)
SSIM = Behaviour(
    "ssim",
    "Likeness to the picture: structural similarity of what is drawn from the same noise",
    "structural similarity",
    "picture",
    frozenset({"redrawn"}),
    lambda context: lambda measurement: structural_similarity(measurement.redrawn, context.drawn_queries),
    meaning="How similar in structure the model’s new drawing from the same noise is to this picture.",
)


def embedding(folder: str) -> Behaviour:
    """Return the cosine of the embeddings of each drawn query and of what is drawn from its noise, [G].

    Example:
        >>> embedding("models/clip").about
        'picture'
    """
    features = embedding_features(folder)

    def make(context: Context) -> Values:
        queries = features(context.drawn_queries)
        return lambda measurement: (features(measurement.redrawn) * queries).sum(1)

    title = f"Likeness to the picture in the eyes of {folder}, of what is drawn from the same noise"
    return Behaviour(f"embedding:{folder}", title, "cosine", "picture", frozenset({"redrawn"}), make)
