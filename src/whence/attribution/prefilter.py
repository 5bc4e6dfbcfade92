"""A prefilter: similarity picks candidates among the training examples, and gradients are taken of these alone.

Of N examples, the `count` most similar to each query are candidates, C for all queries together. Gradients are taken of
them and of m others, drawn at random. The kernel is that of all N, estimated: a candidate counts once and one of the
others (N - C) / m times (Horvitz & Thompson 1952),

    K = Σ_candidates φ_n φ_nᵀ + (N - C) / m Σ_others φ_n φ_nᵀ + λ

Scores are of the candidates. What is lost shows in the others: with M others of a query that score as high as its k-th
candidate, estimated as (N - C) / m times those of the sample, the candidates have k / (k + M) of the k + M examples at
the top.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from whence.errors import ConfigError
from whence.scores.scores import Scores
from whence.seeds import derived_seed
from whence.similarity.attributors import attributor, is_similarity
from whence.similarity.similarity import similarity
from whence.statistics.statistic import Interval, Statistic

if TYPE_CHECKING:
    from whence.attribution.request import AttributionRequest

#: The damping that stands for the ridge of the training.
AUTO = "auto"
#: Name of the likeness of what the model denoises.
LATENT = "latent"
#: k, candidates at the top of a query.
TOP = 20
#: Resamples of the others for an interval.
RESAMPLES = 2000
#: Numbers of examples that are compared with queries at a time.
VALUES = 2**24


@dataclass(frozen=True)
class Prefilter:
    """Which similarity picks how many candidates for each query.

    Example:
        >>> Prefilter.parse("embedding:clip:2000")
        Prefilter(name='embedding:clip', count=2000)
    """

    name: str
    count: int

    @classmethod
    def parse(cls, text: str) -> Prefilter:
        """Return the prefilter of ``NAME:COUNT``.

        Raises:
            ConfigError: The text is something else, or there is no such similarity.
        """
        match = re.fullmatch(r"(.+):([1-9][0-9]{0,11})", text)
        if not match or not (match[1] == LATENT or is_similarity(match[1])):
            raise ConfigError(
                f"A prefilter is NAME:COUNT, like latent:2000; given {text!r}. NAME is latent (what the model "
                "denoises) or a similarity, such as pixel or embedding:FOLDER."
            )
        return cls(match[1], int(match[2]))


@dataclass(frozen=True)
class Population:
    """The population that the examples of a request stand for: candidates first, then the sample of the others.

    Attributes:
        candidates: Number of candidates, C.
        size: Number of all examples, N.
        fingerprint: That of all examples.
        weights: How many examples each of the request stands for, by id.
    """

    candidates: int
    size: int
    fingerprint: str
    weights: Mapping[str, float]


def narrowed(request: AttributionRequest, prefilter: Prefilter) -> AttributionRequest:
    """Return a request of the candidates and a sample of the others, as many as candidates of a query.

    Raises:
        ConfigError: A method compares pictures alone, needs every training example, or finds its own candidates; or
            the similarity needs pictures, and there are none.
    """
    _require_methods(request)
    ids, data = request.examples.ids, request.data
    chosen = sorted(_candidates(request, prefilter), key=lambda n: ids[n])
    rest = sorted(set(range(len(ids))).difference(chosen), key=lambda n: ids[n])
    random = np.random.default_rng(derived_seed(request.config.seed, "prefilter"))
    places = sorted(random.choice(len(rest), min(prefilter.count, len(rest)), replace=False).tolist())
    rows = [*chosen, *(rest[n] for n in places)]
    weights = {ids[n]: 1.0 for n in chosen} | {ids[rest[n]]: len(rest) / len(places) for n in places}
    return replace(
        request,
        data=None if data is None else data.select(rows),
        examples=request.examples.select(rows),
        units=tuple(request.units[n] for n in rows),
        population=Population(len(chosen), len(ids), request.examples.fingerprint, weights),
    )


def _require_methods(request: AttributionRequest) -> None:
    """Refuse methods that look at all training examples."""
    whole = [method.name for method in request.methods if method.curvature is not None or method.over == "record"]
    if request.config.damping == AUTO:
        raise ConfigError("--damping auto needs all training examples. Give a number, or leave --prefilter out.")
    others = [*request.similarities, *(method.name for method in request.run_methods), *whole]
    if others:
        raise ConfigError(
            f"{others[0]} needs all training examples, and a prefilter leaves most of them out. Leave one of the two "
            "out."
        )


def _candidates(request: AttributionRequest, prefilter: Prefilter) -> set[int]:
    """Return the places of the candidates of all queries."""
    count = min(prefilter.count, len(request.examples))
    if prefilter.name == LATENT:
        return set(nearest_latents(request, count).flatten().tolist())
    if request.data is None:
        raise ConfigError(
            f"{prefilter.name} compares pictures; give the training images as a Dataset, or latent:COUNT."
        )
    pictures = request.query_pictures.x(range(len(request.queries)))
    scores = attributor(prefilter.name, request.data)(pictures, request.queries.ids).scores
    return set(scores.topk(count, 1).indices.flatten().tolist())


def nearest_latents(request: AttributionRequest, count: int) -> Tensor:
    """Return the places of the examples whose latents or pixels are nearest to those of each query, [Q, count]."""
    queries = request.queries.x(range(len(request.queries))).flatten(1)
    step = max(1, VALUES // queries.shape[1])
    best, places = torch.zeros(len(queries), 0, dtype=torch.float64), torch.zeros(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(request.examples), step):
        rows = range(start, min(start + step, len(request.examples)))
        likeness = similarity(queries, request.examples.x(rows).flatten(1), "euclidean")
        best = torch.cat([best, likeness], 1)
        places = torch.cat([places, torch.arange(rows.start, rows.stop).expand(len(queries), -1)], 1)
        best, order = best.topk(min(count, best.shape[1]), 1)
        places = places.gather(1, order)
    return places


def of_candidates(results: dict[str, Scores], population: Population | None) -> dict[str, Scores]:
    """Return scores of the candidates alone, with what was lost by leaving out the others; all where there is none."""
    if population is None:
        return results
    return {name: _first(scores, population) for name, scores in results.items()}


def _first(scores: Scores, population: Population) -> Scores:
    candidates, error, deviations = population.candidates, scores.standard_error, scores.deviations
    return replace(
        scores,
        scores=scores.scores[:, :candidates],
        examples=scores.examples[:candidates],
        units=scores.units[:candidates],
        standard_error=None if error is None else error[:, :candidates],
        deviations=None if deviations is None else deviations[:, :, :candidates],
        recall=measure_recall(scores, population),
    )


def measure_recall(scores: Scores, population: Population) -> dict[str, Any]:
    """Return which share of the examples at the top are candidates, of proponents and, if signed, of opponents.

    The interval is from resamples of the others; where none of m is as high, it ends at three of m (95%).
    """
    directions = {"proponents": 1.0} | ({} if scores.sign == "unsigned" else {"opponents": -1.0})
    found = dict(_shares(scores.scores, population, directions))
    return {
        "examples": population.size,
        "candidates": population.candidates,
        "sample": len(scores.examples) - population.candidates,
        "top": min(TOP, population.candidates),
        **{name: {"value": of.value, "low": of.interval.low, "high": of.interval.high} for name, of in found.items()},
    }


def _shares(scores: Tensor, population: Population, directions: Mapping[str, float]) -> Iterator[tuple[str, Statistic]]:
    """Yield the share of candidates at the top in each direction."""
    first, top = population.candidates, min(TOP, population.candidates)
    others = scores.shape[1] - first
    for name, sign in directions.items():
        signed = sign * scores
        least = signed[:, :first].topk(top, 1).values[:, -1:]
        as_high = (signed[:, first:] >= least).sum(0).numpy()
        yield name, share_found(as_high, (population.size - first) / max(others, 1), top, len(scores))


def share_found(as_high: np.ndarray, weight: float, top: int, queries: int) -> Statistic:
    """Return k Q / (k Q + M) with its interval, M = weight · Σ_n h_n; h [m] is for how many queries each other is high.

    Example:
        >>> share_found(np.array([0, 0, 1, 1]), weight=5.0, top=10, queries=1).value
        0.5
    """
    found, count, missed = top * queries, len(as_high), weight * as_high.sum()
    if missed:
        drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
        low, high = np.quantile(found / (found + weight * (drawn @ as_high)), [0.025, 0.975])
    else:  # of the m that were looked at none: at most 3 of m are, with a confidence of 95%
        low, high = found / (found + 3 * weight * queries * bool(count)), 1.0
    return Statistic(float(found / (found + missed)), Interval(float(low), float(high), 0.95, RESAMPLES, 0), 0.0)
