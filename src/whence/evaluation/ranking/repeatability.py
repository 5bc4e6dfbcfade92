"""Repeatability: do two independent sets of draws name the same examples, in the same order?

Scores of gradient methods are means over random timesteps and noise. Where two sets of draws don't agree, the scores
tell nothing of the model or the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import rankdata

from whence.artefacts import Manifest
from whence.errors import DataError, MismatchError
from whence.evaluation.bank.alignment import reorder
from whence.scores.scores import Scores
from whence.scores.stored import StoredScores
from whence.statistics.ranks import top_columns
from whence.statistics.statistic import Statistic, mean_of

#: Examples at the top of each set that are compared.
TOP = 100
#: Pairs of random orders from which chance is known.
PAIRS = 200


@dataclass(frozen=True, eq=False)
class Repeatability:
    """How two sets of scores agree at the top; intervals are over queries.

    Attributes:
        correlation: Spearman's rank correlation over the examples that are in the top of either set, mean over queries.
            Chance is below 0: an example that only one set puts at the top is lower in the other set.
        overlap: Share of the top of one set that is in the top of the other, mean over queries; chance: top/N.
        correlations: Of each query, [Q]; NaN where all scores of those examples are equal in one set.
        overlaps: Of each query, [Q].
    """

    correlation: Statistic
    overlap: Statistic
    correlations: np.ndarray
    overlaps: np.ndarray


def repeatability(a: np.ndarray, b: np.ndarray, top: int = TOP, *, seed: int = 0) -> Repeatability:
    """Return how two sets of scores of a method by other draws, [Q, N] each, larger is more, agree at the top.

    Raises:
        DataError: The shapes differ, there are fewer than two examples, a score is NaN, or the scores at the top are
            equal for every query.

    Example:
        >>> scores = np.arange(40.0).reshape(1, 40)
        >>> same = repeatability(scores, scores**2, top=10)
        >>> same.correlation.value, same.overlap.value, same.overlap.chance
        (1.0, 1.0, 0.25)
    """
    if a.shape != b.shape or a.ndim != 2 or a.shape[-1] < 2:
        raise DataError(f"Scores of the same queries and examples are compared; given {a.shape} and {b.shape}.")
    count = a.shape[1]
    top = min(top, count)
    first, second = (_among(top_columns(scores, top), count) for scores in (a, b))
    correlations = np.array([_spearman(x[u], y[u]) for x, y, u in zip(a, b, first | second, strict=True)])
    overlaps = (first & second).sum(1) / top
    defined = correlations[~np.isnan(correlations)]
    if not len(defined):
        raise DataError("The scores at the top are equal for every query, so they have no order that could repeat.")
    return Repeatability(
        mean_of(defined, chance_correlation(count, top), seed),
        mean_of(overlaps, top / count, seed),
        correlations,
        overlaps,
    )


def _among(columns: np.ndarray, count: int) -> np.ndarray:
    """Whether an example is one of a query's columns, bool [Q, N]."""
    mask = np.zeros((len(columns), count), dtype=bool)
    np.put_along_axis(mask, columns, True, 1)
    return mask


@cache
def chance_correlation(count: int, top: int) -> float:
    """Return the mean correlation of two random orders over the examples in the top of either, by simulation."""
    source = np.random.default_rng(0)
    correlations = []
    for _ in range(PAIRS):
        x, y = source.permutation(count), source.permutation(count)
        either = (x >= count - top) | (y >= count - top)
        correlations.append(_spearman(x[either], y[either]))
    return float(np.nanmean(correlations))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of ranks, where equal values share a rank; NaN where a or b is constant."""
    x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else np.nan


def independent_pairs(
    first: Sequence[StoredScores], second: Sequence[StoredScores]
) -> dict[str, tuple[Scores, Scores]]:
    """Return the scores of each method by two independent sets of draws, in the same order of queries and examples.

    Methods are paired by the names of their folders; if there is one on either side, these are a pair. Methods without
    draws are left out: they give the same scores every time.

    Raises:
        MismatchError: No method with draws is on both sides, or two scores are of another model, data, queries or
            settings, or have the same seed.
    """
    others = {scores.name: scores for scores in second}
    if len(first) == len(second) == 1:
        others = {first[0].name: second[0]}
    pairs = {a.name: (a, others[a.name]) for a in first if a.name in others and a.scores.draws}
    if not pairs:
        raise MismatchError(
            f"No method with draws is in both: {', '.join(a.name for a in first)} and "
            f"{', '.join(b.name for b in second)}. Attribute twice by the same methods, with another --seed."
        )
    for a, b in pairs.values():
        _require_independent(a, b)
    return {name: (a.scores, reorder(b.scores, a.scores.queries, a.scores.examples)) for name, (a, b) in pairs.items()}


def _require_independent(a: StoredScores, b: StoredScores) -> None:
    """Raise MismatchError unless two scores differ in their draws, and in nothing else."""
    first, second = _settings(a.manifest), _settings(b.manifest)
    different = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    if different:
        raise MismatchError(
            f"The scores by {a.name} differ in {', '.join(sorted(different))}, not in their draws alone. Attribute "
            "twice with everything the same but --seed and --out."
        )
    seeds = [manifest.made.get("config", {}).get("seed") for manifest in (a.manifest, b.manifest)]
    if seeds[0] == seeds[1]:
        raise MismatchError(
            f"Both scores by {a.name} have the seed {seeds[0]}, so they share draws. Attribute one of them again "
            "with another --seed."
        )


def _settings(manifest: Manifest) -> dict[str, Any]:
    """What scores are of and how they were made, without what belongs to their draws."""
    made = {name: value for name, value in manifest.made.items() if name not in ("values", "draws", "config", "units")}
    config = {n: value for n, value in manifest.made.get("config", {}).items() if n not in ("seed", "draws")}
    return {**manifest.inputs, **made, **config}
