"""Agreement of two rankings of units, and the ceiling that a second codebook sets for it.

A landscape says how far each unit's ablation moves a picture of *this* ensemble. Another ensemble on the same data,
with other code words and other weights, has a landscape of its own. What is true of the images is in both; what they do
not share is chance, and no estimate can be expected to agree with one of them better than the other does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from whence.ensemble import Ensemble
from whence.ensemble.landscape import landscapes
from whence.errors import DataError, MismatchError

#: Units at the top of a ranking that are compared.
TOP = 10


@dataclass(frozen=True)
class Agreement:
    """How two rankings of the same units agree, query by query.

    Attributes:
        queries: Ids of the queries, Q.
        correlations: Spearman's rank correlation over units, float64 [Q]; NaN where a ranking is constant.
        recalls: Share of the top units of one that are among the top of the other, float64 [Q].
        chance: What `recalls` are on average for a random ranking.
    """

    queries: tuple[str, ...]
    correlations: np.ndarray
    recalls: np.ndarray
    chance: float


def agreement(queries: Sequence[str], a: np.ndarray, b: np.ndarray) -> Agreement:
    """Return how the rankings a and b agree, both [Q, U], larger is more.

    Raises:
        DataError: They are of different shapes, or there are fewer than two units.

    Example:
        >>> both = agreement(["q"], np.arange(20.0)[None], np.arange(20.0)[None] ** 2)
        >>> both.correlations.tolist(), both.recalls.tolist(), both.chance
        ([1.0], [1.0], 0.5)
    """
    if a.shape != b.shape or a.ndim != 2 or len(queries) != len(a) or a.shape[1] < 2:
        raise DataError(f"Rankings of the same queries and units are compared; given {a.shape} and {b.shape}.")
    top = min(TOP, a.shape[1])
    correlations = [
        float(spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else np.nan for x, y in zip(a, b, strict=True)
    ]
    shared = [len(_top(x, top) & _top(y, top)) / top for x, y in zip(a, b, strict=True)]
    return Agreement(tuple(queries), np.array(correlations), np.array(shared), top / a.shape[1])


def ceiling(ensemble: Ensemble, second: Ensemble) -> Agreement:
    """Return how the landscapes of two ensembles on the same data agree, for all pictures of which both have one.

    Raises:
        DataError: They have no landscape in common.
    """
    require_independent(ensemble, second)
    mine, other = ({one.sample: one for one in landscapes(each)} for each in (ensemble, second))
    samples = [name for name in mine if name in other]
    if not samples:
        raise DataError(
            f"{ensemble.path} and {second.path} have no landscape of the same picture. First: "
            "whence ensemble landscape, with the same --samples, for both."
        )
    order = [second.codebook.units.index(unit) for unit in ensemble.codebook.units]
    return agreement(
        samples,
        np.stack([mine[name].distances.numpy() for name in samples]),
        np.stack([other[name].distances.numpy()[order] for name in samples]),
    )


def require_independent(ensemble: Ensemble, second: Ensemble) -> None:
    """Check that two ensembles were trained on the same data by other code words.

    Raises:
        MismatchError: They were trained on other data, or have the same code words.
    """
    data = [str(one.manifest.inputs["data"]) for one in (ensemble, second)]
    if data[0] != data[1]:
        raise MismatchError(
            f"{ensemble.path} and {second.path} were trained on different data, with the fingerprints {data[0]} and "
            f"{data[1]}; the ceiling needs the same."
        )
    if np.array_equal(ensemble.codebook.bits, second.codebook.bits):
        raise MismatchError(
            f"{ensemble.path} and {second.path} have the same code words, so they share their chance too. Train the "
            "second with another --codebook-seed and another --seed."
        )


def _top(values: np.ndarray, count: int) -> set[int]:
    return set(np.argsort(-values, kind="stable")[:count].tolist())
