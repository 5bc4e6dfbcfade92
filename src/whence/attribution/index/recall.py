"""How many of the examples with the largest scores a search finds, and how many candidates that takes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whence.attribution.index.candidate_search import CandidateSearch
from whence.attribution.index.stored_vectors import StoredVectors
from whence.statistics.statistic import mean_of

#: Examples at the top that are to be found.
TOP = 100
#: Recall that the number of candidates is chosen for.
TARGET = 0.95
#: Recall from which on no more candidates are tried.
COMPLETE = 0.999
#: Numbers of candidates that are tried.
TRIED = (100, 200, 500, 1000, 1500, 2000, 3000, 5000, 10_000, 20_000)
#: Queries that are compared with all examples at a time.
QUERIES = 256


def exact_top(vectors: StoredVectors, queries: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the largest inner products of queries [Q, p] with all, int64 [Q, k], file by file."""
    count, start = min(count, len(vectors)), 0
    best = np.full((len(queries), 0), -np.inf)
    places = np.zeros((len(queries), 0), np.int64)
    for block in vectors.blocks():
        products = queries @ block.astype(np.float64).T
        best = np.concatenate([best, products], 1)
        places = np.concatenate([places, np.broadcast_to(np.arange(start, start + len(block)), products.shape)], 1)
        order = np.argsort(-best, 1, kind="stable")[:, :count]
        best, places = np.take_along_axis(best, order, 1), np.take_along_axis(places, order, 1)
        start += len(block)
    return places


@dataclass(frozen=True)
class Recall:
    """The share of the top `top` that is found, for some numbers of candidates, and the number that was chosen.

    Attributes:
        top: K, examples at the top.
        candidates: Candidates that were chosen: the fewest with the target on every other query.
        value: Recall with these on the other queries, with its interval over queries.
        low: Its lower end.
        high: Its upper end.
        queries: Number of these queries, proponents and opponents apart.
        milliseconds: Median time of such a search in one direction.
        curve: Recall and milliseconds by number of candidates, on all queries.
    """

    top: int
    candidates: int
    value: float
    low: float
    high: float
    queries: int
    milliseconds: float
    curve: dict[str, dict[str, float]]

    def record(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return asdict(self)


def measure_recall(search: CandidateSearch, vectors: StoredVectors, queries: np.ndarray) -> Recall:
    """Return the recall of proponents and opponents of queries [Q, p] against the exact products with all vectors.

    The number of candidates is chosen on one half of the searches and its recall is that of the other; of a single
    query its proponents are the one half and its opponents the other.
    """
    asked = np.stack([queries, -queries], 1).reshape(-1, queries.shape[1])
    top = min(TOP, len(vectors))
    expected = np.concatenate(
        [exact_top(vectors, asked[first : first + QUERIES], top) for first in range(0, len(asked), QUERIES)]
    )
    found: dict[int, tuple[np.ndarray, float]] = {}
    for count in sorted({min(max(count, top), len(vectors)) for count in TRIED}):
        found[count] = recall_of(search, vectors, asked, expected, count)
        if found[count][0].mean() >= COMPLETE:
            break
    half = np.arange(len(queries)).repeat(2) % 2 == 0 if len(queries) > 1 else np.array([True, False])
    enough = [count for count, (recalls, _) in found.items() if recalls[half].mean() >= TARGET]
    chosen = enough[0] if enough else max(found)
    recalls, milliseconds = found[chosen]
    value = mean_of(recalls[~half], top / len(vectors))
    curve = {str(count): {"recall": float(r.mean()), "milliseconds": ms} for count, (r, ms) in found.items()}
    interval = value.interval
    return Recall(top, chosen, value.value, interval.low, interval.high, int((~half).sum()), milliseconds, curve)


def recall_of(
    search: CandidateSearch, vectors: StoredVectors, queries: np.ndarray, expected: np.ndarray, count: int
) -> tuple[np.ndarray, float]:
    """Return the recall of queries [Q, p] with so many candidates [Q], and the median milliseconds of a search.

    `expected` are the places of the examples at the top, int64 [Q, k].
    """
    recalls, times = [], []
    for query, top in zip(queries, expected, strict=True):
        start = time.perf_counter()
        found, _ = vectors.largest(query, search(query, count), len(top))
        times.append(1e3 * (time.perf_counter() - start))
        recalls.append(np.isin(top, found).mean())
    return np.array(recalls), float(np.median(times))
