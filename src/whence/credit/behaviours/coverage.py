"""Coverage and precision: which held-out pictures have drawn ones nearby, and which drawn ones are near held-out ones.

Around each of the H held-out pictures x_h lies a ball that reaches to its k-th nearest neighbour among the others:
B_h = {x : ‖x - x_h‖ ≤ r_h}. With drawn pictures y_1 ... y_K:

    coverage  = share of h with some y_k in B_h      (Naeem et al. 2020)
    precision = share of k with y_k in some B_h      (Kynkäänniemi et al. 2019, eq. 1 and 2)

Coverage falls where a model no longer draws some kind of picture, precision where it draws what isn't like any.
A held-out picture unlike the others has a large ball, so precision in pixels is soon 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist

from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.credit.behaviours.features import Features, pixels
from whence.errors import DataError
from whence.retraining.measurement import Measurement

#: Neighbours k that a ball reaches to.
NEIGHBOURS = 5


def radii(features: np.ndarray) -> np.ndarray:
    """Return the distance of every row to its k-th nearest among the other rows, k = 5: float64 [H].

    Example:
        >>> radii(np.arange(7.0)[:, None]).tolist()
        [5.0, 4.0, 3.0, 3.0, 3.0, 4.0, 5.0]
    """
    distances: np.ndarray = np.sort(cdist(features, features), 1)[:, NEIGHBOURS]
    return distances


def within(drawn: np.ndarray, held_out: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return which drawn rows [K, d] lie in the balls of radius r [H] around held-out rows [H, d], bool [K, H].

    Example:
        >>> within(np.array([[1.0], [2.5]]), np.array([[0.0], [3.0]]), np.array([1.0, 1.0])).tolist()
        [[True, False], [False, True]]
    """
    inside: np.ndarray = cdist(drawn, held_out) <= reach
    return inside


def coverage(features: Features = pixels, name: str = "coverage") -> Behaviour:
    """Return the share of held-out pictures with a drawn one nearby, in [0, 1].

    Example:
        >>> coverage().unit
        'share of held-out pictures'
    """
    title = "Coverage: held-out pictures that the model draws something like"
    meaning = "How much of the variety of real pictures, which the model never saw, is in the pictures it makes."
    unit = "share of held-out pictures"
    return _neighbours(name, title, unit, features, lambda inside: float(inside.any(0).mean()), meaning)


def precision(features: Features = pixels, name: str = "precision") -> Behaviour:
    """Return the share of drawn pictures that are near a held-out one, in [0, 1].

    Example:
        >>> precision().unit
        'share of drawn pictures'
    """
    title = "Precision: drawn pictures that are like a held-out one"
    meaning = "How many of the pictures that the model makes look like real pictures that it never saw."
    unit = "share of drawn pictures"
    return _neighbours(name, title, unit, features, lambda inside: float(inside.any(1).mean()), meaning)


def _neighbours(
    name: str, title: str, unit: str, features: Features, share: Callable[[np.ndarray], float], meaning: str
) -> Behaviour:
    def make(context: Context) -> Values:
        pictures = context.plan.held_out
        if pictures is None or len(pictures) <= NEIGHBOURS:
            count = 0 if pictures is None else len(pictures)
            raise DataError(f"{name!r} needs more than {NEIGHBOURS} held-out pictures, given {count}; give more.")
        held_out = features(pictures.pixels)
        reach = radii(held_out)

        def values(measurement: Measurement) -> np.ndarray:
            return np.array([share(within(features(measurement.pictures), held_out, reach))])

        return values

    return Behaviour(name, title, unit, "model", frozenset({"pictures"}), make, meaning=meaning)
