"""Near-duplicates across contributors: pictures of several contributors that are the same or nearly the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.credit.contributors import Contributors
from whence.data import NO_UNIT, Dataset
from whence.errors import MismatchError
from whence.similarity.near_duplicates import NEAR, connect, near_duplicates


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
    if data.ids != contributors.examples:
        raise MismatchError("The contributors are of other examples than the data, or in another order.")
    labels, distances = near_duplicates(data, near)
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
    labels = connect(np.array(pairs, np.int64).reshape(-1, 2), len(names))
    first = {int(label): names[u] for u, label in reversed(list(enumerate(labels)))}
    return tuple(first[int(label)] for label in labels)
