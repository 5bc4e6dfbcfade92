"""How varied a model's pictures are: diversity over kinds of pictures; coverage and precision by held-out pictures.

Around each of the H held-out pictures x_h lies a ball that reaches to its k-th nearest neighbour among the others:
B_h = {x : ‖x - x_h‖ ≤ r_h}. With drawn pictures y_1 ... y_K:

    coverage  = share of h with some y_k in B_h      (Naeem et al. 2020)
    precision = share of k with y_k in some B_h      (Kynkäänniemi et al. 2019, eq. 1 and 2)

Coverage falls where a model no longer draws some kind of picture, precision where it draws what isn't like any.
A held-out picture unlike the others has a large ball, so precision in pixels is soon 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Context, Row, Values
from whence.credit.behaviours.likeness import Features, pixels
from whence.data import Dataset
from whence.errors import DataError
from whence.lazy import spatial
from whence.similarity.clusters import clusters_of

if TYPE_CHECKING:
    from whence.retraining.measurement import Measurement

#: Clusters of the reference pictures, at most.
CLUSTERS = 20
#: Reference pictures for each cluster, at least on average.
PICTURES = 3
#: Neighbours k that a ball reaches to.
NEIGHBOURS = 5


def entropy(counts: np.ndarray) -> float:
    """Return -Σ p log2 p of the proportions p of counts, in bits."""
    p = counts[counts > 0] / counts.sum()
    return float(np.abs(p @ np.log2(p)))


def nearest_cluster(features: np.ndarray, reference: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return for rows [K, d] the cluster whose members in `reference` [R, d] are closest on average; ties: first."""
    distance = spatial.cdist(features, reference)
    means = [distance[:, clusters == cluster].mean(1) for cluster in range(clusters.max() + 1)]
    nearest: np.ndarray = np.stack(means, 1).argmin(1)
    return nearest


def diversity(features: Features = pixels, name: str = "diversity") -> Behaviour:
    """Entropy in bits over clusters of the full model's pictures (Lu et al. 2025, arXiv:2407.03153).

    The reference pictures are clustered by Ward linkage on `features`; each picture of a model belongs to the cluster
    of the smallest mean distance. v = -Σ p log2 p over the proportions p of the clusters, from 0 to log2(clusters).
    Noise is spread over clusters too: an untrained model can have nearly the diversity of the full one, in which case
    little is shared out; read it beside `precision`.

    Returns:
        A behaviour of a model.
    """

    def make(context: Context) -> Values:
        reference = features(context.reference)
        clusters = clusters_of(reference, _count(context))
        most = int(clusters.max()) + 1

        def values(measurement: Measurement) -> np.ndarray:
            nearest = nearest_cluster(features(measurement.pictures), reference, clusters)
            return np.array([entropy(np.bincount(nearest, minlength=most))])

        return values

    def rows(context: Context) -> list[Row]:
        title = f"Diversity of what the model draws: entropy over {_count(context)} kinds of pictures"
        return [(name, title, None)]

    title = "Diversity of what the model draws"
    meaning = "How many different kinds of pictures the model makes, and how evenly. More is more varied."
    return Behaviour(name, title, "bits", "model", frozenset({"pictures"}), make, rows, meaning)


def _count(context: Context) -> int:
    count = min(CLUSTERS, len(context.plan.names) // PICTURES)
    if count < 2:
        least, better = 2 * PICTURES, CLUSTERS * PICTURES
        raise DataError(f"Diversity needs {least} drawn pictures or more, better {better}; draw more.")
    return count


def radii(features: np.ndarray) -> np.ndarray:
    """Return the distance of every row to its k-th nearest among the other rows, k = 5: float64 [H]."""
    distances: np.ndarray = np.sort(spatial.cdist(features, features), 1)[:, NEIGHBOURS]
    return distances


def within(drawn: np.ndarray, held_out: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return which drawn rows [K, d] lie in the balls of radius r [H] around held-out rows [H, d], bool [K, H]."""
    inside: np.ndarray = spatial.cdist(drawn, held_out) <= reach
    return inside


def coverage(features: Features = pixels, name: str = "coverage") -> Behaviour:
    """Return the share of held-out pictures with a drawn one nearby, in [0, 1]."""
    title = "Coverage: held-out pictures that the model draws something like"
    meaning = "How much of the variety of real pictures, which the model never saw, is in the pictures it makes."
    unit = "share of held-out pictures"
    return _neighbours(name, title, unit, features, lambda inside: float(inside.any(0).mean()), meaning)


def precision(features: Features = pixels, name: str = "precision") -> Behaviour:
    """Return the share of drawn pictures that are near a held-out one, in [0, 1]."""
    title = "Precision: drawn pictures that are like a held-out one"
    meaning = "How many of the pictures that the model makes look like real pictures that it never saw."
    unit = "share of drawn pictures"
    return _neighbours(name, title, unit, features, lambda inside: float(inside.any(1).mean()), meaning)


def _neighbours(
    name: str, title: str, unit: str, features: Features, share: Callable[[np.ndarray], float], meaning: str
) -> Behaviour:
    def pictures(context: Context) -> Dataset:
        found = context.plan.held_out
        if found is None or len(found) <= NEIGHBOURS:
            count = 0 if found is None else len(found)
            raise DataError(f"{name!r} needs more than {NEIGHBOURS} held-out pictures, given {count}; give more.")
        return found

    def rows(context: Context) -> list[Row]:
        pictures(context)
        return [(name, title, None)]

    def make(context: Context) -> Values:
        held_out = features(np.asarray(pictures(context).pixels))
        reach = radii(held_out)
        return lambda measurement: np.array([share(within(features(measurement.pictures), held_out, reach))])

    return Behaviour(name, title, unit, "model", frozenset({"pictures"}), make, rows, meaning)
