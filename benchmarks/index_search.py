"""Recall and time of searches in an index of a million examples, on one core.

Real features: those of the images of `styles` by the base `styles`, for `tangent-squared` and for `trak`. Their
eigenvalues, of every layer that has a kernel of its own, are the spectra from which Gaussian features are drawn, in
random bases; for `tangent-squared` a whole index is made of these, in pieces. Those of `trak`, and isotropic ones, are
drawn as the vectors that the whitening makes of them, a fifth as many.

A query of `trak` is an example at other draws. With s the part of the features that all draws share and e that of the
draws, an example is s + e and its query s + e'. The size of e in every direction of the basis is that among the eight
groups of draws of the real features. For `tangent-squared`, whose examples and queries share their draws, and for
isotropic features, queries are new examples.

Writes docs/figures/index-search.json, part by part: what is in it is not measured again.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from figures import FOLDER, write_figures
from torch import Tensor

import whence
from whence import artefacts
from whence.attribution.index.candidate_search import CandidateSearch
from whence.attribution.index.fill_index import (
    CANDIDATES,
    SEARCH,
    VECTORS,
    FeatureBlock,
    IndexSource,
    fill_index,
    fill_search,
)
from whence.attribution.index.index import KIND
from whence.attribution.index.make_index import build_index
from whence.attribution.index.recall import exact_top, recall_of
from whence.attribution.index.scored_features import ScoredFeatures
from whence.attribution.index.search import search
from whence.attribution.index.stored_vectors import StoredVectors, write_vectors
from whence.attribution.methods import METHODS
from whence.engine import Engine
from whence.scores.jackknife import GROUPS

#: Examples that are drawn at a time.
BLOCK = 10_000
#: Lists of the inverted file, and how many of them are looked at.
LISTS, PROBES = 512, (4, 16, 64)
#: Candidates of the searches that are compared.
COUNTS = (200, 500, 1000, 1500, 2000, 5000)
#: Vectors that the inverted file is trained on.
TRAINED = 20_000
#: Columns of indices of fewer columns, of 4 and of 8 bits.
FEWER = 256


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues Λ_l of Φ_lᵀΦ_l / N of every layer, and the share of each that is of the draws."""

    values: list[Tensor]
    noise: list[Tensor]

    @classmethod
    def of(cls, scored: ScoredFeatures) -> Spectrum:
        """Return the spectrum of the features of some scores."""
        groups = torch.cat([sums.sums for sums in scored.features.examples.shards()], 1).double()
        groups *= GROUPS / scored.features.examples.draws
        values, noise = [], []
        for part in torch.split(groups, list(scored.source.layers), 2):
            mean = part.mean(0)
            own, basis = torch.linalg.eigh(mean.T @ mean / len(mean))
            among = ((part - mean) @ basis).square().sum((0, 1)) / (GROUPS * (GROUPS - 1) * len(mean))
            share = (among / own.clamp_min(1e-30)).clamp(0, 1)
            values.append(own.clamp_min(0))
            noise.append(torch.ones_like(own) if scored.method.shared else share)
        return cls(values, noise)

    def whitened(self, damping: float) -> tuple[Tensor, Tensor]:
        """Return the variances of the columns of the vectors, in descending order, and the shares of the draws."""
        variances = torch.cat([own / (own + damping * own.mean()) for own in self.values])
        order = variances.argsort(descending=True)
        return variances[order], torch.cat(self.noise)[order]


class Population:
    """Gaussian examples with independent columns: s + e of variances (1 - r) v and r v; and queries s + e'."""

    def __init__(self, variances: Tensor, noise: Tensor, count: int) -> None:
        self.count, self.width = count, len(variances)
        self._shared, self._own = ((variances * part).sqrt().float() for part in (1 - noise, noise))

    def block(self, number: int, rows: int, draw: int = 0) -> Tensor:
        """Return the first rows of a block at one draw, float32 [rows, p]."""
        parts = []
        for scale, seed in ((self._shared, 3 * number), (self._own, 3 * number + 1 + draw)):
            random = torch.Generator().manual_seed(seed)
            parts.append(torch.randn(BLOCK, len(scale), generator=random)[:rows] * scale if scale.any() else 0.0)
        return parts[0] + parts[1]

    def blocks(self) -> Iterator[Tensor]:
        """Yield all examples."""
        for number in range(self.count // BLOCK):
            yield self.block(number, BLOCK)


def real(work: Path, method: str) -> ScoredFeatures:
    """Return the real features of a method."""
    out = work / f"scores-{method}"
    config = whence.AttributionConfig(draws=64, compression={"width": 1024})
    whence.attribute("styles", whence.load("styles"), "sample:16", method, config=config, out=out, engine=Engine(1))
    return ScoredFeatures.open(out)


def whole_index(work: Path, spectrum: Spectrum, count: int, queries: int) -> dict[str, Any]:
    """Make an index of features with a spectrum at the default damping; return its facts, time and memory."""
    method, random = METHODS["tangent-squared"], torch.Generator().manual_seed(1)
    widths = tuple(map(len, spectrum.values))
    bases = [torch.linalg.qr(torch.randn(width, width, generator=random))[0] for width in widths]
    population = Population(torch.cat(spectrum.values), torch.cat(spectrum.noise), count)

    def turned(columns: Tensor) -> Tensor:
        parts = zip(torch.split(columns, list(widths), 1), bases, strict=True)
        return torch.cat([part @ basis.T for part, basis in parts], 1)

    def blocks() -> Iterator[FeatureBlock]:
        for columns in population.blocks():
            yield FeatureBlock(turned(columns), torch.ones(len(columns)))

    asked = turned(population.block(0, queries, draw=1))
    ids = tuple(map(str, range(count)))
    source = IndexSource(ids, widths, blocks, asked, method.inner, method.damping)
    start, facts = time.perf_counter(), {}
    with artefacts.create(work / "index", KIND, inputs={"examples": str(count)}, made={}, facts=facts) as part:
        facts |= fill_index(part, source, None, None)
    bytes_of = {file.name: file.stat().st_size for file in (work / "index").rglob("*") if file.is_file()}
    vectors = sum(size for name, size in bytes_of.items() if name[0].isdigit())
    return {
        **facts,
        "minutes": (time.perf_counter() - start) / 60,
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "codes MiB": bytes_of["candidates.faiss"] / 2**20,
        "vectors GiB": vectors / 2**30,
    }


def compared(work: Path, spectrum: Spectrum, queries: int) -> dict[str, Any]:
    """Return recall and milliseconds of several indices of the same vectors, for proponents and opponents."""
    table = artefacts.read_table(work / "index" / "examples.parquet")
    vectors = StoredVectors(work / "index" / VECTORS, np.array(table["sum"]))
    variances, noise = spectrum.whitened(METHODS["tangent-squared"].damping)
    scale = (1 / len(vectors)) ** 0.5
    asked = (Population(variances, noise, BLOCK).block(0, queries, draw=1) * scale).double().numpy()
    asked = np.stack([asked, -asked], 1).reshape(-1, asked.shape[1])
    expected, sample = exact_top(vectors, asked, 100), vectors.sample(TRAINED)
    settings = artefacts.read_json(work / "index" / SEARCH)
    default = CandidateSearch.read(work / "index" / CANDIDATES, settings["columns"], None)
    found = {settings["factory"]: {str(count): timed(default, vectors, asked, expected, count) for count in COUNTS}}
    for factory, columns in ((f"PQ{FEWER // 2}x4fs", FEWER), ("SQ8", FEWER), (f"IVF{LISTS},SQfp16", vectors.width)):
        blocks = (block[:, :columns].copy() for block in vectors.blocks())
        made = CandidateSearch.train(factory, sample[:, :columns].copy(), blocks, None)
        of_lists = [(str(probes), probes, COUNTS[0]) for probes in PROBES]
        rows = of_lists if "IVF" in factory else [(str(count), None, count) for count in COUNTS]
        searches = [(name, CandidateSearch(made.index, columns, probes), count) for name, probes, count in rows]
        found[factory] = {name: timed(one, vectors, asked, expected, count) for name, one, count in searches}
        print(factory, found[factory], flush=True)
    return found


def timed(
    search: CandidateSearch, vectors: StoredVectors, queries: np.ndarray, expected: np.ndarray, count: int
) -> dict[str, float]:
    """Return the recall, the mean time of a search on the processor, and the median time on the clock."""
    begun = time.process_time()
    recalls, milliseconds = recall_of(search, vectors, queries, expected, count)
    spent = 1e3 * (time.process_time() - begun) / len(queries)
    return {"recall": recalls.mean(), "processor ms": spent, "clock ms": milliseconds}


def drawn_vectors(work: Path, name: str, population: Population, queries: int) -> dict[str, Any]:
    """Return the facts on the search among vectors that are drawn as a whitening makes them."""
    place = work / name
    place.mkdir(exist_ok=True)
    vectors = StoredVectors(place / VECTORS, write_vectors(place / VECTORS, population.blocks(), population.width))
    facts = fill_search(place, vectors, population.block(0, queries, draw=1).double().numpy(), None, None)
    for file in (place / VECTORS).iterdir():
        file.unlink()
    return facts


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/index"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    scored = {name: real(given.out, name) for name in ("tangent-squared", "trak")}
    spectra = {name: Spectrum.of(of) for name, of in scored.items()}
    columns, few = sum(map(len, spectra["trak"].values)), given.examples // 5
    results = known(given.examples)
    trak = Population(*spectra["trak"].whitened(METHODS["trak"].damping), few)
    isotropic = Population(torch.ones(columns), torch.ones(columns), few)
    real_index = build_index(given.out / "scores-tangent-squared", given.out / "index-real")
    parts: dict[str, Callable[[], Any]] = {
        "few": lambda: few,
        "features": lambda: columns,
        "share of draws": lambda: share_of_draws(spectra["trak"]),
        "query features ms": lambda: search(real_index, "sample:1@1").feature_milliseconds,
        "tangent-squared": lambda: whole_index(given.out, spectra["tangent-squared"], given.examples, given.queries),
        "compared": lambda: compared(given.out, spectra["tangent-squared"], given.queries),
        "isotropic": lambda: drawn_vectors(given.out, "isotropic", isotropic, given.queries),
        "trak": lambda: drawn_vectors(given.out, "trak", trak, given.queries),
    }
    for name, measure in parts.items():
        if name not in results:
            results[name] = measure()
            print(name, results[name], flush=True)
            write_figures("index-search", results)


def known(examples: int) -> dict[str, Any]:
    """Return what was measured of so many examples."""
    file = FOLDER / "index-search.json"
    found = artefacts.read_json(file) if file.exists() else {}
    return found if found.get("examples") == examples else {"examples": examples}


def share_of_draws(spectrum: Spectrum) -> float:
    """Return the share of the squared features that is of the draws."""
    total = sum(float(own.sum()) for own in spectrum.values)
    of_draws = sum(float(own @ share) for own, share in zip(spectrum.values, spectrum.noise, strict=True))
    return of_draws / total


if __name__ == "__main__":
    main()
