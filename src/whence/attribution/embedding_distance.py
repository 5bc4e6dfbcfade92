"""Distance between embeddings: which training images look most like the query to a vision model. A similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from whence.attribution.embedding import BATCH, Embedder
from whence.attribution.scores import Estimand, Scores
from whence.data import Dataset

#: Training images that are held as floats at a time.
CHUNK = 64 * BATCH


@dataclass(frozen=True, eq=False)
class EmbeddingDistance:
    """Negative Euclidean distance between embeddings of length 1: score[q, n] = -‖e(x_q) - e(x_n)‖₂, in [-2, 0].

    Its order is that of cosine similarity. The training images are embedded once, at the first call.

    Attributes:
        data: Training examples, N.
        embedder: The vision model e.
    """

    data: Dataset
    embedder: Embedder

    def __call__(self, pictures: Tensor, names: Sequence[str]) -> Scores:
        """Return unsigned scores [Q, N] of queries float32 [Q, C, H, W] in [-1, 1]; a unit's is its closest image's."""
        queries = self.embedder(pictures).double()
        distances = torch.cdist(queries, self.examples.double(), compute_mode="donot_use_mm_for_euclid_dist")
        return Scores(
            scores=-distances.float(),
            queries=tuple(names),
            examples=self.data.ids,
            units=self.data.units,
            method=f"embedding {self.embedder.folder.resolve().name}",
            estimand=Estimand(
                "likeness of embeddings", "none: a similarity", "none", self.embedder.fingerprint, "example"
            ),
            sign="unsigned",
            combine="max",
        )

    @cached_property
    def examples(self) -> Tensor:
        """Embeddings of the training images, float32 [N, d]."""
        starts = range(0, len(self.data), CHUNK)
        chunks = [range(start, min(start + CHUNK, len(self.data))) for start in starts]
        return torch.cat([self.embedder(self.data.images(rows)) for rows in chunks])
