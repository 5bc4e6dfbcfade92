"""How like a picture is what a model draws from the same noise, by distance and by structural similarity."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.credit.behaviours.features import pixels

#: Width of the Gaussian window of structural similarity, and where it is cut: 11 x 11 pixels.
SIGMA, RADIUS = 1.5, 5
C1, C2 = 0.01**2, 0.03**2


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance over pixels in [0, 1] of pictures uint8 [G, C, H, W], float64 [G].

    Example:
        >>> distances(np.zeros((1, 1, 2, 2), np.uint8), np.full((1, 1, 2, 2), 255, np.uint8)).tolist()
        [2.0]
    """
    norms: np.ndarray = np.linalg.norm(pixels(a) - pixels(b), axis=1)
    return norms


def structural_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mean structural similarity (Wang et al. 2004, eq. 13 to 17) of pictures, float64 [G] in [-1, 1].

    SSIM = (2 μ_a μ_b + C1)(2 σ_ab + C2) / ((μ_a² + μ_b² + C1)(σ_a² + σ_b² + C2)) at every pixel of every channel, with
    means, variances and the covariance in a Gaussian window of 11 x 11 pixels (σ = 1.5; mirrored at the border),
    C1 = 0.01² and C2 = 0.03² for pixels in [0, 1]; then the mean.

    Args:
        a: uint8 [G, C, H, W].
        b: uint8 [G, C, H, W].

    Returns:
        1 for equal pictures.

    Example:
        >>> picture = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
        >>> structural_similarity(picture, picture).round(12).tolist()
        [1.0]
    """
    x, y = a / 255.0, b / 255.0

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(values, (0, 0, SIGMA, SIGMA), mode="reflect", radius=(0, 0, RADIUS, RADIUS)))

    mean_x, mean_y = local(x), local(y)
    variances = local(x * x) - mean_x**2 + local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1) * (2 * covariance + C2) / (variances + C2)
    means: np.ndarray = likeness.mean((1, 2, 3))
    return means


def _distance(context: Context) -> Values:
    queries = context.drawn_queries
    return lambda measurement: -distances(measurement.redrawn, queries)


def _ssim(context: Context) -> Values:
    queries = context.drawn_queries
    return lambda measurement: structural_similarity(measurement.redrawn, queries)


DISTANCE = Behaviour(
    "distance",
    "Likeness to the picture: minus the distance of what is drawn from the same noise",
    "Euclidean distance of pixels in [0, 1]",
    "picture",
    frozenset({"redrawn"}),
    _distance,
    meaning="How close the model comes to this picture when it draws again from the same noise. Numbers are below "
    "zero: nearer to zero is closer.",
)
SSIM = Behaviour(
    "ssim",
    "Likeness to the picture: structural similarity of what is drawn from the same noise",
    "structural similarity",
    "picture",
    frozenset({"redrawn"}),
    _ssim,
    meaning="How similar in structure the model’s new drawing from the same noise is to this picture.",
)
