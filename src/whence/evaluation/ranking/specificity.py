"""Specificity: are different queries traced to different examples, or all to the same few?

Where the same example is among the top k of most queries, whatever they show, the reason is the method, often an
example with a long gradient, and not the queries. Xie et al. 2024 (Diffusion-ReTrac, arXiv 2401.09031) call such
examples generally influential and count them. Their threshold is not known to us; here it is half of the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import binom

from whence.statistics.ranks import top_columns
from whence.statistics.statistic import Statistic, bootstrap_statistic, jackknife_interval

#: Number of examples at the top of each query.
TOP = 20


@dataclass(frozen=True)
class Specificity:
    """How different the top k of different queries are.

    Attributes:
        different: Number of different examples in the top k of all Q queries, from k to min(N, Qk). More is more
            specific; chance: N (1 - (1 - k/N)^Q).
        recurring: Share of the N examples that are in the top k of at least half of the queries, from 0 to about 2k/N.
            Less is more specific; chance: P(Binomial(Q, k/N) ≥ Q/2).
    """

    different: Statistic
    recurring: Statistic


def specificity(
    scores: np.ndarray, top: int = TOP, *, kinds: Sequence[str] | np.ndarray | None = None, seed: int = 0
) -> Specificity:
    """Return how different the examples at the top of different queries are, by scores [Q, N], larger is more.

    Intervals are over queries. That of the number of different examples is a jackknife interval: a bootstrap resample
    holds fewer different queries, and so fewer different examples.

    With `kinds` of the queries, Q, an example recurs if it is in the top k of half of the queries of one kind; it is
    counted once for each such kind.

    Raises:
        DataError: There are fewer than two queries, no example, or a score is NaN.
        ConfigError: There are fewer than `top` examples.

    Example:
        >>> result = specificity(np.eye(4), top=1)  # the top example of each query is another one
        >>> result.different.value, round(result.different.chance, 3), result.recurring.value
        (4.0, 2.734, 0.0)
    """
    columns = top_columns(scores, top)
    queries, examples = scores.shape
    counts = np.bincount(columns.ravel(), minlength=examples)
    different = int((counts > 0).sum())
    reach = jackknife_interval(different, different - (counts[columns] == 1).sum(1))
    interval = replace(
        reach, low=max(reach.low, float(top)), high=min(reach.high, float(examples), float(columns.size))
    )
    chance = examples * (1 - (1 - top / examples) ** queries)
    return Specificity(
        Statistic(float(different), interval, float(chance)),
        _recurring(columns, examples, np.zeros(queries) if kinds is None else np.asarray(kinds), seed),
    )


def _recurring(columns: np.ndarray, examples: int, kinds: np.ndarray, seed: int) -> Statistic:
    queries, top = columns.shape
    named, places = np.unique(columns, return_inverse=True)
    rows = np.repeat(np.arange(queries), top)
    in_top = csr_array((np.ones(rows.size), (rows, places.ravel())), shape=(queries, named.size))
    groups = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]

    def share(counts: np.ndarray) -> np.ndarray:
        recurring = [(2 * (counts[:, group] @ in_top[group]) >= len(group)).sum(1) for group in groups]
        shares: np.ndarray = np.sum(recurring, axis=0) / examples
        return shares

    chance = sum(float(binom.sf((len(group) + 1) // 2 - 1, len(group), top / examples)) for group in groups)
    return bootstrap_statistic(queries, share, chance, seed, kinds)
