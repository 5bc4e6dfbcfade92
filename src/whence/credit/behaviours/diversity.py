"""Diversity: over how many kinds of pictures a model spreads what it draws."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist

from whence.credit.behaviours.declaration import Behaviour, Context, Row, Values
from whence.credit.behaviours.features import Features, pixels
from whence.errors import DataError
from whence.retraining.measurement import Measurement, Part

#: For everybody.
MEANING = "How many different kinds of pictures the model makes, and how evenly. More is more varied."
#: Clusters of the reference pictures, at most.
CLUSTERS = 20
#: Reference pictures for each cluster, at least on average.
PICTURES = 3


def entropy(counts: np.ndarray) -> float:
    """Return -Σ p log2 p of the proportions p of counts, in bits.

    Example:
        >>> entropy(np.array([2, 2, 0, 4]))
        1.5
    """
    p = counts[counts > 0] / counts.sum()
    return float(np.abs(p @ np.log2(p)))


def clusters_of(features: np.ndarray, count: int) -> np.ndarray:
    """Return the cluster of every row by Ward linkage cut into at most `count`, int [K] from 0.

    Example:
        >>> clusters_of(np.array([[0.0], [0.1], [5.0], [5.1]]), 2).tolist()
        [1, 1, 0, 0]
    """
    clusters: np.ndarray = fcluster(linkage(features, "ward"), count, "maxclust") - 1
    return clusters


def nearest_cluster(features: np.ndarray, reference: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return the cluster whose members are closest on average (Euclidean), int [K]; ties go to the first.

    Args:
        features: [K, d].
        reference: [R, d].
        clusters: Cluster of every row of `reference`, int [R] from 0.
    """
    distance = cdist(features, reference)
    means = [distance[:, clusters == cluster].mean(1) for cluster in range(clusters.max() + 1)]
    nearest: np.ndarray = np.stack(means, 1).argmin(1)
    return nearest


def diversity(features: Features = pixels, name: str = "diversity") -> Behaviour:
    """Entropy in bits over clusters of the full model's pictures (Lu et al. 2025, arXiv:2407.03153).

    The reference pictures are clustered by Ward linkage; each picture of a model belongs to the cluster of the
    smallest mean distance. v = -Σ p log2 p over the proportions p of the clusters; between 0 and log2(clusters).
    Noise is spread over clusters too: an untrained model can have nearly the diversity of the full one, in which case
    little is shared out; read it beside `precision`.

    Args:
        features: What pictures are compared by.
        name: Name of the behaviour.

    Returns:
        A behaviour of a model.

    Example:
        >>> diversity().unit
        'bits'
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

    title, needs = "Diversity of what the model draws", frozenset[Part]({"pictures"})
    return Behaviour(name, title, "bits", "model", needs, make, rows, MEANING)


def _count(context: Context) -> int:
    count = min(CLUSTERS, len(context.plan.names) // PICTURES)
    if count < 2:
        least = 2 * PICTURES
        raise DataError(f"Diversity needs {least} drawn pictures or more, better {CLUSTERS * PICTURES}; draw more.")
    return count
