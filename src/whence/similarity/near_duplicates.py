"""Near-duplicates: pictures that are the same or nearly the same.

Two pictures are near-duplicates if their distance, the root mean square over pixels in [0, 1], is at most `NEAR`.
Clusters are the connected components, so the ends of a chain may be further apart. Only pixels of pictures of one
shape are compared: a mirrored, cropped or recoloured copy is not found.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from whence.data import Dataset
from whence.errors import ConfigError
from whence.ragged import groups_of

#: Largest distance of near-duplicates, about 5 of 255 grey levels: saving a photograph again changes as much.
NEAR = 0.02
#: Blocks along each side of a picture whose sums find the pairs worth comparing.
BLOCKS = 4
#: Numbers that are held in memory at a time.
HELD = 2**22


def near_duplicates(data: Dataset, near: float = NEAR) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster of every picture, int [N], and the largest distance of two near-duplicates in each cluster.

    near = 0 finds identical pictures.

    Raises:
        ConfigError: The distance is not from 0 to 1.

    Example:
        >>> pixels = np.array([0, 0, 2, 99], np.uint8).reshape(4, 1, 1, 1)
        >>> clusters, distances = near_duplicates(Dataset(tuple("abcd"), pixels, (("u",),) * 4, (None,) * 4))
        >>> clusters.tolist(), (255 * distances).round().tolist()
        ([0, 0, 0, 1], [2.0, 0.0])
    """
    if not 0 <= near <= 1:
        raise ConfigError(f"The distance of near-duplicates is from 0 to 1, such as {NEAR}; given {near}.")
    _, first, same = np.unique(data.fingerprints, return_index=True, return_inverse=True)
    pixels = data.pixels[first]
    found = [(group, *_near_pairs(pixels[group], near)) for group in groups_of(pixels)]
    pairs = np.concatenate([group[pairs] for group, pairs, _ in found])
    distances = np.concatenate([far for *_, far in found])
    labels = connect(pairs, len(first))
    largest = np.zeros(labels.max() + 1)
    np.maximum.at(largest, labels[pairs[:, 0]], distances)
    return labels[same], largest


def _near_pairs(pixels: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of pictures at most `near` apart, int [P, 2], and their distances [P].

    Sums over blocks, divided by the root of the block's size, are a projection, which makes no distance larger. So a
    tree on these sums finds all pairs that can be near, and only those are compared.
    """
    reach = near * 255 * math.sqrt(math.prod(pixels.shape[1:]))
    pairs = cKDTree(_blocks(pixels)).query_pairs(reach * (1 + 1e-9) + 1e-6, output_type="ndarray").astype(np.int64)
    step = max(1, HELD // math.prod(pixels.shape[1:]))
    parts = [pairs[k : k + step] for k in range(0, len(pairs), step)]
    squares = [((pixels[part[:, 0]].astype(np.int64) - pixels[part[:, 1]]) ** 2).sum((1, 2, 3)) for part in parts]
    distances = np.sqrt(np.concatenate([np.zeros(0), *squares]) / math.prod(pixels.shape[1:])) / 255
    close = distances <= near
    return pairs[close], distances[close]


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """Sums over blocks of each channel by the root of their size, float64 [N, C x at most 16]."""
    sums = pixels
    for axis in (2, 3):
        length = pixels.shape[axis]
        edges = np.unique(np.arange(BLOCKS) * length // BLOCKS)
        sizes = np.diff(np.append(edges, length)).reshape([-1] + [1] * (3 - axis))
        sums = np.add.reduceat(sums, edges, axis=axis, dtype=np.float64) / np.sqrt(sizes)
    blocks: np.ndarray = sums.reshape(len(pixels), -1)
    return blocks


def connect(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the connected component of each of `count` nodes, int [count], from the pairs connected, [P, 2]."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels
