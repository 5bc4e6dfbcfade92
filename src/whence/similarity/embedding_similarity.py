"""Likeness of embeddings: which training images look most like the query to a vision model. Not an influence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from whence.data import Dataset
from whence.scores.scores import Estimand, Scores
from whence.similarity.embedding import BATCH, Embedder
from whence.similarity.measure import Measure, similarity

#: Training images that are held as floats at a time.
CHUNK = 64 * BATCH


@dataclass(frozen=True, eq=False)
class EmbeddingSimilarity:
    """Likeness of embeddings e, and of embeddings ê = e / ‖e‖ of length 1.

    euclidean: -‖ê(x_q) - ê(x_n)‖₂, in [-2, 0];  cosine: ê(x_q) · ê(x_n);  dot: e(x_q) · e(x_n).
    Euclidean and cosine give one order. The training images are embedded once, at the first call. Dot and cosine are
    the baselines of D-TRAK's study (Zheng et al. 2024) with CLIP's embeddings.

    Attributes:
        data: Training examples, N.
        embedder: The vision model e.
        measure: How likeness is measured.
    """

    data: Dataset
    embedder: Embedder
    measure: Measure = "euclidean"

    def __call__(self, pictures: Tensor, names: Sequence[str]) -> Scores:
        """Unsigned scores [Q, N] of queries float32 [Q, C, H, W] in [-1, 1]; a unit's is that of its closest image."""
        name = "embedding" if self.measure == "euclidean" else f"embedding-{self.measure}"
        return Scores(
            scores=similarity(self._embed(pictures), self.examples, self.measure).float(),
            queries=tuple(names),
            examples=self.data.ids,
            units=self.data.units,
            method=f"{name} {self.embedder.folder.resolve().name}",
            estimand=Estimand(
                "likeness of embeddings", "none: a similarity", "none", self.embedder.fingerprint, "example"
            ),
            sign="unsigned",
            combine="max",
        )

    @cached_property
    def examples(self) -> Tensor:
        """Embeddings of the training images, float32 [N, d]; of length 1, except for dot."""
        starts = range(0, len(self.data), CHUNK)
        chunks = [range(start, min(start + CHUNK, len(self.data))) for start in starts]
        return torch.cat([self._embed(self.data.images(rows)) for rows in chunks])

    def _embed(self, pictures: Tensor) -> Tensor:
        return self.embedder.features(pictures) if self.measure == "dot" else self.embedder(pictures)
