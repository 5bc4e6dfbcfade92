"""The nearest of many vectors: pixels, latents or embeddings of pictures."""

from __future__ import annotations

import numpy as np

#: Numbers of a block of distances that are held in memory at a time.
HELD = 2**24


def squared_distances(few: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Return ‖a_k - b_n‖² = ‖a_k‖² + ‖b_n‖² - 2 a_k · b_n of vectors [K, d] and [N, d], float64 [K, N].

    Of pixels uint8 they are exact, because they are sums of whole numbers below 2^53.

    Example:
        >>> squared_distances(np.array([[0, 3]], np.uint8), np.array([[4, 0], [0, 3]], np.uint8)).tolist()
        [[25.0, 0.0]]
    """
    a, b = few.astype(np.float64), many.astype(np.float64)
    squares: np.ndarray = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return squares


def nearest(
    queries: np.ndarray, examples: np.ndarray, count: int = 1, *, apart: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` nearest examples of every query, int [Q, k], and their distances, float64 [Q, k].

    A distance is the root mean square of the differences, ‖a - b‖₂ / √d, nearest first, ties by place. `apart` are
    labels of queries [Q] and of examples [N]: an example with the label of the query is left out. Where fewer examples
    are left than `count`, the distance is infinite.

    Example:
        >>> places, distances = nearest(np.array([[0.0, 0.0]]), np.array([[3.0, 3.0], [1.0, 1.0]]), 2)
        >>> places.tolist(), distances.tolist()
        ([[1, 0]], [[1.0, 3.0]])
    """
    q, n = queries.reshape(len(queries), -1), examples.reshape(len(examples), -1)
    count, step = min(count, len(n)), max(1, HELD // len(n))
    places, distances = np.empty((len(q), count), np.int64), np.empty((len(q), count))
    for start in range(0, len(q), step):
        rows = slice(start, start + step)
        squares = squared_distances(q[rows], n)
        if apart is not None:
            squares[apart[0][rows, None] == apart[1]] = np.inf
        places[rows] = np.argsort(squares, axis=1, kind="stable")[:, :count]
        distances[rows] = np.sqrt(np.take_along_axis(squares, places[rows], 1).clip(0) / q.shape[1])
    return places, distances
