"""An index that is open for searching."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Artefact
from whence.attribution.index.candidate_search import CandidateSearch
from whence.attribution.index.fill_index import CANDIDATES, SEARCH, VECTORS, WHITENING, query_vectors
from whence.attribution.index.stored_vectors import StoredVectors
from whence.attribution.method import Method
from whence.attribution.methods import method
from whence.errors import ConfigError
from whence.kernel.whitening import Whitening
from whence.scores.top import TopScores

if TYPE_CHECKING:
    from whence.attribution.inner_product import InnerProduct

KIND = "index"
#: Candidates for every example that is asked for, at least.
SPARE = 10


@dataclass(frozen=True)
class Found:
    """The training examples that were found for a query, best first.

    Attributes:
        query: The query.
        proponents: Ids and scores, the largest first.
        opponents: Ids and scores, the smallest first.
        milliseconds: Time of both searches, from the vector of the query on.
    """

    query: str
    proponents: TopScores
    opponents: TopScores
    milliseconds: float


@dataclass(frozen=True)
class Index(Artefact):
    """An index on disk. Vectors are mapped, so memory is that of FAISS's codes and of the ids.

    All files but the vectors are checked by hash when it is opened, each vector by its check sum when it is used.
    """

    kind: ClassVar[str] = KIND

    @classmethod
    def open(cls, path: Path) -> Index:
        """Return the index in a directory.

        Raises:
            ArtefactError: It is missing, unfinished, damaged, or something else.
        """
        manifest = artefacts.read_manifest(path, KIND)
        for name in (WHITENING, CANDIDATES, SEARCH, "examples.parquet"):
            artefacts.verify(path, manifest, name)
        return cls(path, manifest)

    @property
    def method(self) -> Method:
        """The method of its scores."""
        return method(str(self.manifest.made["method"]))

    @property
    def _inner(self) -> InnerProduct:
        inner = self.method.inner
        assert inner is not None
        return inner

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of the examples, N."""
        return tuple(self._table["id"])

    @cached_property
    def _table(self) -> dict[str, list[Any]]:
        return artefacts.read_table(self.path / "examples.parquet")

    @cached_property
    def _vectors(self) -> StoredVectors:
        return StoredVectors(self.path / VECTORS, np.array(self._table["sum"], np.int64))

    @cached_property
    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = artefacts.read_json(self.path / SEARCH)
        return settings

    @cached_property
    def _candidates(self) -> CandidateSearch:
        return CandidateSearch.read(self.path / CANDIDATES, self._settings["columns"], self._settings["probes"])

    @cached_property
    def _whitening(self) -> Whitening:
        return Whitening.of_tensors(artefacts.read_tensors(self.path / WHITENING))

    def search(self, features: Tensor, names: tuple[str, ...], top: int = 20) -> list[Found]:
        """Return the training examples of the largest and of the smallest scores for queries.

        Candidates are found by FAISS and scored exactly; `facts` of the manifest say with which recall.

        Args:
            features: Features of the queries, float32 [Q, p]; `query_features` makes them from pictures.
            names: Names of the queries, Q.
            top: Examples in each direction.

        Raises:
            ConfigError: `top` is not from 1 on, or features have another width.
            ArtefactError: A vector is damaged.
        """
        if top < 1:
            raise ConfigError(f"At least one example is searched for; given top={top}.")
        if features.ndim != 2 or features.shape != (len(names), self._vectors.width):
            raise ConfigError(
                f"The index has {self._vectors.width} features; {len(names)} queries have {list(features.shape)}."
            )
        vectors = query_vectors(self._whitening, self._inner, features).numpy()
        for vector in vectors[:1]:
            self._found(vector, names[0], top)  # so that opening the files is no part of the time
        return [self._found(vector, name, top) for vector, name in zip(vectors, names, strict=True)]

    def _found(self, vector: np.ndarray, name: str, top: int) -> Found:
        start = time.perf_counter()
        proponents, opponents = self._side(vector, top), self._side(-vector, top)
        milliseconds = 1e3 * (time.perf_counter() - start)
        pairs = [
            self._scored(places, sign * products) for sign, (places, products) in ((1, proponents), (-1, opponents))
        ]
        titles = [f"{self.method.name}: {side} of query {name}" for side in ("proponents", "opponents")]
        found = [TopScores(rows, title) for rows, title in zip(pairs, titles, strict=True)]
        return Found(name, found[0], found[1], milliseconds)

    def _scored(self, places: np.ndarray, products: np.ndarray) -> list[tuple[str, float]]:
        """Return ids and scores of examples at some places, of their inner products."""
        scores = self._inner.scores(torch.from_numpy(products)).tolist()
        return list(zip((self.ids[n] for n in places), scores, strict=True))

    def _side(self, vector: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the examples of the largest products with a vector, and these."""
        places = self._candidates(vector, max(self._settings["candidates"], SPARE * top))
        return self._vectors.largest(vector, places, top)
