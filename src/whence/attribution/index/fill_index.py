"""Make the files of an index, from features that come in blocks: memory doesn't grow with the number of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.attribution.index.candidate_search import CandidateSearch, default_factory, leading_columns
from whence.attribution.index.recall import measure_recall
from whence.attribution.index.stored_vectors import StoredVectors, write_vectors
from whence.attribution.inner_product import InnerProduct
from whence.attribution.term_features import layer_squares
from whence.engine import Report, silent
from whence.kernel.algebra import weighted
from whence.kernel.moments import Moments
from whence.kernel.whitening import Whitening

#: Vectors that FAISS is trained on.
SAMPLE = 65_536
#: Names of the files.
WHITENING, VECTORS, CANDIDATES, SEARCH = "whitening.safetensors", "vectors", "candidates.faiss", "search.json"


@dataclass(frozen=True)
class FeatureBlock:
    """Features of some examples: φ float32 [n, p], their mean losses [n], and their weights.

    `weights` [n] are those in the kernel, None for 1; `shares` [n] are what scores are multiplied by, None for 1.
    """

    features: Tensor
    losses: Tensor
    weights: Tensor | None = None
    shares: Tensor | None = None


@dataclass(frozen=True, eq=False)
class IndexSource:
    """What an index is made from.

    Attributes:
        ids: Ids of the examples, N, in the order of the blocks.
        widths: Number of features of every layer.
        blocks: Yields the features of all examples, again at each call.
        queries: Features of the queries that the recall is measured with, float32 [Q, p].
        inner: How scores are inner products.
        damping: The damping of the kernel; None for a method without.
        units: From Σ_n ‖φ_ln‖² of each layer and the mean loss to λ_l at the damping 1; None for the mean eigenvalues.
    """

    ids: Sequence[str]
    widths: tuple[int, ...]
    blocks: Callable[[], Iterator[FeatureBlock]]
    queries: Tensor
    inner: InnerProduct
    damping: float | None
    units: Callable[[Sequence[float], float], tuple[float, ...]] | None = None

    @property
    def layers(self) -> tuple[int, ...]:
        """Number of features of every layer that has a kernel of its own."""
        return self.widths if self.inner.layers else (sum(self.widths),)


def fill_index(
    part: Path, source: IndexSource, factory: str | None, probes: int | None, report: Report = silent
) -> dict[str, Any]:
    """Write the files of an index into a folder.

    The features are read twice: for the kernel, and for the vectors. The report is called with (examples, 2 N).

    Returns:
        The facts on it: how it is searched, and the recall.
    """
    count = len(source.ids)
    whitening = _whitening(source, report)
    artefacts.write_tensors(part / WHITENING, whitening.tensors)
    blocks = _vectors(source, whitening, report)
    sums = write_vectors(part / VECTORS, blocks, sum(source.widths))
    artefacts.write_table(part / "examples.parquet", {"id": list(source.ids), "sum": sums.tolist()})
    vectors, queries = StoredVectors(part / VECTORS, sums), query_vectors(whitening, source.inner, source.queries)
    return {"examples": count, **fill_search(part, vectors, queries.numpy(), factory, probes)}


def fill_search(
    part: Path, vectors: StoredVectors, queries: np.ndarray, factory: str | None, probes: int | None
) -> dict[str, Any]:
    """Write how vectors are searched into a folder, and return it with the recall for the vectors of queries [Q, p]."""
    count = len(vectors)
    sample = vectors.sample(min(SAMPLE, count))
    columns = leading_columns(torch.from_numpy(sample).square().mean(0))
    factory = factory or default_factory(count, columns)
    columns = columns if factory != "Flat" else vectors.width
    first = (block[:, :columns].copy() for block in vectors.blocks())
    search = CandidateSearch.train(factory, sample[:, :columns].copy(), first, probes)
    search.write(part / CANDIDATES)
    recall = measure_recall(search, vectors, queries)
    lists = search.lists_searched or None
    settings = {"factory": factory, "columns": columns, "probes": lists, "candidates": recall.candidates}
    artefacts.write_json(part / SEARCH, settings)
    return {"search": settings, "recall": recall.record()}


def query_vectors(whitening: Whitening, inner: InnerProduct, features: Tensor) -> Tensor:
    """Return the vectors of queries, float64 [Q, p], of their features [Q, p]."""
    vectors = whitening.vectors(features)
    return inner.scaled(vectors, features, whitening.divisors) if inner.of_queries else vectors


def _whitening(source: IndexSource, report: Report) -> Whitening:
    """Return the whitening by the kernel of all examples."""
    moments, count = tuple(map(Moments.zeros, source.layers)), len(source.ids)
    sums = np.zeros(1 + len(source.layers))
    for block in source.blocks():
        parts = torch.split(weighted(block.features, block.weights), list(source.layers), 1)
        for one, part in zip(moments, parts, strict=True):
            one.add(part)
        if source.units is not None:
            sums += [float(block.losses.double().sum()), *layer_squares(block.features, source.layers)]
        report(moments[0].count, 2 * count)
    units = () if source.units is None else source.units(sums[1:].tolist(), sums[0] / count)
    return Whitening.of(moments, source.damping, units)


def _vectors(source: IndexSource, whitening: Whitening, report: Report) -> Iterator[Tensor]:
    """Yield the vectors of one block after the other."""
    done = total = len(source.ids)
    for block in source.blocks():
        vectors = whitening.vectors(block.features)
        given = (block.features, whitening.divisors, source.damping or 0.0, block.losses, block.shares)
        yield source.inner.scaled(vectors, *given)
        done += len(vectors)
        report(done, 2 * total)
