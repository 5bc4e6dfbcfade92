"""Near-duplicates across contributors: pictures of several contributors that are the same or nearly the same.

Two pictures are near-duplicates if their distance, the root mean square over pixels in [0, 1], is at most `NEAR`.
Clusters are the connected components, so the ends of a chain may be further apart. Only pixels of pictures of one
shape are compared: a mirrored, cropped or recoloured copy is not found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from whence.credit.contributors import Contributors
from whence.data import NO_UNIT, Dataset
from whence.errors import ConfigError, MismatchError
from whence.ragged import groups_of

#: Largest distance of near-duplicates, about 5 of 255 grey levels: saving a photograph again changes as much.
NEAR = 0.02
#: Blocks along each side of a picture whose sums find the pairs worth comparing.
BLOCKS = 4
#: Numbers that are held in memory at a time.
HELD = 2**22


@dataclass(frozen=True)
class Cluster:
    """Near-duplicates of several contributors.

    Attributes:
        examples: Their ids, in the order of the data.
        contributors: Whose they are, in the order of the contributors.
        distance: Largest distance of two near-duplicates, 0 to 1; 0: all are the same to the last pixel.
    """

    examples: tuple[str, ...]
    contributors: tuple[str, ...]
    distance: float


def near_duplicate_clusters(data: Dataset, contributors: Contributors, near: float = NEAR) -> tuple[Cluster, ...]:
    """Return the clusters of near-duplicates that are not all of the same contributors.

    Those of the most contributors come first, then the largest; near = 0 finds identical pictures.

    Raises:
        ConfigError: The distance is not from 0 to 1.
        MismatchError: The contributors are of other examples.

    Example:
        >>> pixels = np.array([0, 0, 2, 99], np.uint8).reshape(4, 1, 1, 1)
        >>> data = Dataset(("a", "b", "c", "d"), pixels, (("u",), ("v",), ("v",), ("v",)), (None,) * 4)
        >>> [cluster] = near_duplicate_clusters(data, Contributors.of_data(data))
        >>> cluster.examples, cluster.contributors
        (('a', 'b', 'c'), ('u', 'v'))
    """
    if not 0 <= near <= 1:
        raise ConfigError(f"The distance of near-duplicates is from 0 to 1, such as {NEAR}; given {near}.")
    if data.ids != contributors.examples:
        raise MismatchError("The contributors are of other examples than the data, or in another order.")
    labels, distances = _components(data, near)
    clusters = []
    for label in np.flatnonzero(np.bincount(labels) > 1):
        rows = np.flatnonzero(labels == label)
        owners = contributors.member[:, rows]
        if (owners == owners[:, :1]).all():
            continue
        names = tuple(contributors.names[u] for u in np.flatnonzero(owners.any(1)))
        clusters.append(Cluster(tuple(data.ids[n] for n in rows), names, float(distances[label])))
    return tuple(sorted(clusters, key=lambda one: (-len(one.contributors), -len(one.examples), one.examples)))


def link_contributors(clusters: tuple[Cluster, ...], contributors: Contributors) -> tuple[str, ...]:
    """Return a label for each contributor, U, the same for those who share near-duplicates: clusters for Owen values.

    The label is the first of their names. `(none)` links nobody: a picture of nobody is no link to a contributor.

    Example:
        >>> contributors = Contributors.of(("1", "2", "3"), (("a",), ("b",), ("c",)))
        >>> link_contributors((Cluster(("1", "3"), ("a", "c"), 0.0),), contributors)
        ('a', 'b', 'a')
    """
    names = contributors.names
    pairs = []
    for cluster in clusters:
        rows = [names.index(name) for name in cluster.contributors if name != NO_UNIT]
        pairs += [(rows[0], other) for other in rows[1:]]
    labels = _connect(np.array(pairs, np.int64).reshape(-1, 2), len(names))
    first = {int(label): names[u] for u, label in reversed(list(enumerate(labels)))}
    return tuple(first[int(label)] for label in labels)


def _components(data: Dataset, near: float) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of every picture, int [N], and the largest distance of two near-duplicates in each cluster."""
    _, first, same = np.unique(data.fingerprints, return_index=True, return_inverse=True)
    pixels = data.pixels[first]
    found = [(group, *_near_pairs(pixels[group], near)) for group in groups_of(pixels)]
    pairs = np.concatenate([group[pairs] for group, pairs, _ in found])
    distances = np.concatenate([far for *_, far in found])
    labels = _connect(pairs, len(first))
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


def _connect(pairs: np.ndarray, count: int) -> np.ndarray:
    """The connected component of each of `count` nodes, int [count], from the pairs that are connected, [P, 2]."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels
