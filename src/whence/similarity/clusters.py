"""Clusters of vectors that are alike: pixels, latents or embeddings of pictures."""

from __future__ import annotations

import numpy as np

from whence.lazy import hierarchy


def clusters_of(features: np.ndarray, count: int) -> np.ndarray:
    """Return the cluster of every row [K, d] by Ward linkage cut into at most `count`, int [K] from 0.

    Example:
        >>> clusters = clusters_of(np.array([[0.0], [0.1], [5.0]]), 2)
        >>> bool(clusters[0] == clusters[1] != clusters[2])
        True
    """
    clusters: np.ndarray = hierarchy.fcluster(hierarchy.linkage(features, "ward"), count, "maxclust") - 1
    return clusters
