"""Pictures beside scores, so that a report needs neither the training set nor the model.

On disk: ``queries.safetensors`` and ``examples.safetensors`` (tensor ``pictures``), the ids in ``queries.parquet`` and
``examples.parquet`` (with the units). Of the training images only those are kept that a report may show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts, images
from whence.artefacts import Manifest
from whence.errors import ArtefactError
from whence.scores.scores import Scores

#: Examples at both ends of a query's scores whose pictures are kept.
ENDS = 20

_KIND = "pictures"


@dataclass(frozen=True, eq=False)
class Pictures:
    """The queries, and the training images at the ends of their scores.

    Attributes:
        queries: Query ids, Q.
        drawn: Their pictures, uint8 [Q, C, H, W], or float32 in [-1, 1].
        examples: Example ids, n of them.
        units: Units of every one of them.
        pixels: Their images, uint8 [n, C, H, W].

    Example:
        >>> pixels = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
        >>> Pictures(("q",), torch.ones(1, 1, 8, 8), ("a",), (("a",),), pixels).query("q").max()
        np.uint8(255)
    """

    queries: tuple[str, ...]
    drawn: Tensor
    examples: tuple[str, ...]
    units: tuple[tuple[str, ...], ...]
    pixels: Tensor

    def __post_init__(self) -> None:
        """Check that everything fits.

        Raises:
            ArtefactError: There are not as many pictures as ids, or they are not pictures.
        """
        for name, ids, found in (("queries", self.queries, self.drawn), ("examples", self.examples, self.pixels)):
            if found.ndim != 4 or len(found) != len(ids) or found.dtype not in (torch.uint8, torch.float32):
                raise ArtefactError(
                    f"The pictures of {len(ids)} {name} are {tuple(found.shape)} {found.dtype}; expected "
                    f"({len(ids)}, C, H, W) in uint8 or float32."
                )
        if len(self.units) != len(self.examples):
            raise ArtefactError(f"There are units of {len(self.units)} examples, and {len(self.examples)} examples.")

    def query(self, name: str) -> np.ndarray:
        """The picture of a query, uint8 [C, H, W]."""
        return _pixels(self.drawn[self.queries.index(name)])

    def example(self, n: int) -> np.ndarray:
        """The image of the n-th of these examples, uint8 [C, H, W]."""
        return _pixels(self.pixels[n])

    def write(self, path: Path, inputs: Mapping[str, str], facts: Mapping[str, Any] | None = None) -> Manifest:
        """Write the pictures as an artefact, in place of the one that is there.

        Args:
            path: Where.
            inputs: Fingerprints of what they were made from.
            facts: What a reader is told of them, such as the names of the model and of the data.

        Returns:
            The manifest.
        """
        made = {"queries": len(self.queries), "examples": len(self.examples)}
        with artefacts.create(path, _KIND, inputs=inputs, made=made, facts=dict(facts or {})) as part:
            artefacts.write_tensors(part / "queries.safetensors", {"pictures": self.drawn})
            artefacts.write_table(part / "queries.parquet", {"id": list(self.queries)})
            artefacts.write_tensors(part / "examples.safetensors", {"pictures": self.pixels})
            artefacts.write_table(
                part / "examples.parquet", {"id": list(self.examples), "units": [list(own) for own in self.units]}
            )
        return artefacts.read_manifest(path, _KIND)

    @classmethod
    def read(cls, path: Path) -> Pictures:
        """Return pictures read from disk, checking every file by hash.

        Raises:
            ArtefactError: They are missing, unfinished or damaged.
        """
        artefacts.read_verified(path, _KIND)
        examples = artefacts.read_table(path / "examples.parquet")
        return cls(
            queries=tuple(artefacts.read_table(path / "queries.parquet")["id"]),
            drawn=artefacts.read_tensors(path / "queries.safetensors")["pictures"],
            examples=tuple(examples["id"]),
            units=tuple(tuple(own) for own in examples["units"]),
            pixels=artefacts.read_tensors(path / "examples.safetensors")["pictures"],
        )


def at_the_ends(scores: Iterable[Scores], count: int = ENDS) -> list[int]:
    """Return the columns that are among the largest or the smallest `count` of any query, ascending.

    Args:
        scores: Scores of the same examples by several methods.
        count: How many at each end; of unsigned scores only the largest.

    Example:
        >>> from whence.scores.scores import Estimand
        >>> estimand = Estimand("pixels", "none", "none", "none", "example")
        >>> scores = Scores(torch.tensor([[1.0, 5.0, 3.0, 4.0]]), ("q",), tuple("abcd"), (("u",),) * 4, "trak",
        ...                 estimand, "positive is proponent", "sum")
        >>> at_the_ends([scores], 1)
        [0, 1]
    """
    found: set[int] = set()
    for one in scores:
        most = min(count, len(one.examples))
        for row in one.scores:
            found.update(row.topk(most).indices.tolist())
            if one.sign != "unsigned":
                found.update(row.topk(most, largest=False).indices.tolist())
    return sorted(found)


def _pixels(picture: Tensor) -> np.ndarray:
    if picture.dtype == torch.uint8:
        array: np.ndarray = picture.numpy()
        return array
    return images.to_pixels(picture)
