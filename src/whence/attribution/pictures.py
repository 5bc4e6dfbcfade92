"""Pictures beside scores, so that a report needs neither the training set nor the model.

On disk: ``queries.safetensors`` and ``examples.safetensors`` (tensor ``pictures``), the ids in ``queries.parquet`` and
``examples.parquet`` (with the units), and captions beside them where the model draws from text. Only those training
images are kept that a report may show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts, images
from whence.artefacts import Manifest
from whence.diffusion.examples import Examples
from whence.diffusion.latents import Latents
from whence.errors import ArtefactError
from whence.ragged import rows_in, tensors_of
from whence.scores.ends import ScoreEnds
from whence.scores.scores import Scores

#: Number of examples at each end of a query's scores whose pictures are kept.
ENDS = 20

_KIND = "pictures"


@dataclass(frozen=True, eq=False)
class Pictures:
    """The queries, and the training images with the largest and smallest scores, with the units of these images.

    Both are uint8 [n, C, H, W], or float32 in [-1, 1]; those of several shapes are `Ragged`.

    Raises:
        ArtefactError: These are not pictures, or there are not as many units as images.

    Example:
        >>> queries = Examples(("q",), torch.ones(1, 1, 8, 8))
        >>> pictures = Pictures(queries, Examples(("a",), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), (("a",),))
        >>> pictures.query("q").max(), pictures.example("a").max()
        (np.uint8(255), np.uint8(0))
    """

    queries: Examples
    examples: Examples
    units: Sequence[tuple[str, ...]]

    def __post_init__(self) -> None:
        for name, examples in (("queries", self.queries), ("examples", self.examples)):
            for size in sorted(set(examples.sizes)):
                dtype = examples.values.dtype
                if len(size) != 3 or dtype not in (torch.uint8, torch.float32):
                    raise ArtefactError(
                        f"The pictures of {len(examples)} {name} are {(len(examples), *size)} {dtype}; expected "
                        f"({len(examples)}, C, H, W) in uint8 or float32."
                    )
        if len(self.units) != len(self.examples):
            raise ArtefactError(f"There are units of {len(self.units)} examples, and {len(self.examples)} examples.")

    def query(self, name: str) -> np.ndarray:
        """Return the picture of a query, uint8 [C, H, W]."""
        return _pixels(self.queries, name)

    def example(self, name: str) -> np.ndarray:
        """Return a training image, uint8 [C, H, W]."""
        return _pixels(self.examples, name)

    def write(self, path: Path, inputs: Mapping[str, str], facts: Mapping[str, Any] | None = None) -> Manifest:
        """Write the pictures in place of any that are there; a report says the facts, such as the model's name."""
        made = {"queries": len(self.queries), "examples": len(self.examples)}
        with artefacts.create(path, _KIND, inputs=inputs, made=made, facts=dict(facts or {})) as part:
            artefacts.write_tensors(part / "queries.safetensors", tensors_of("pictures", self.queries.values))
            artefacts.write_table(part / "queries.parquet", {"id": list(self.queries.ids), **_captions(self.queries)})
            artefacts.write_tensors(part / "examples.safetensors", tensors_of("pictures", self.examples.values))
            units = [list(names) for names in self.units]
            texts = _captions(self.examples)
            artefacts.write_table(part / "examples.parquet", {"id": list(self.examples.ids), "units": units, **texts})
        return artefacts.read_manifest(path, _KIND)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> Pictures:
        """Return the pictures at `path`, after a check of every file against its hash."""
        artefacts.read_verified(path, _KIND)
        tables = {name: artefacts.read_table(path / f"{name}.parquet") for name in ("queries", "examples")}
        queries, examples = (
            Examples(
                tuple(table["id"]),
                rows_in("pictures", artefacts.read_tensors(path / f"{name}.safetensors")),
                captions=tuple(table.get("caption", ())),
            )
            for name, table in tables.items()
        )
        return cls(queries, examples, tuple(tuple(names) for names in tables["examples"]["units"]))


def _captions(examples: Examples) -> dict[str, list[str]]:
    return {"caption": list(examples.captions)} if examples.captions else {}


def extreme_examples(scores: Iterable[Scores], count: int = ENDS) -> list[int]:
    """Return the columns among the largest `count` of any query and method, or the smallest if signed, in order."""
    columns: set[int] = set()
    for method_scores in scores:
        most = min(count, len(method_scores.examples))
        for row in method_scores.scores:
            columns.update(row.topk(most).indices.tolist())
            if method_scores.sign != "unsigned":
                columns.update(row.topk(most, largest=False).indices.tolist())
    return sorted(columns)


def end_examples(ends: ScoreEnds, count: int = ENDS) -> set[str]:
    """Return the ids among the largest `count` of any query, or the smallest ones."""
    names: set[str] = set()
    for query in ends.queries:
        for listed in (ends.top, ends.opponents):
            names.update(name for name, _ in listed(query, min(count, ends.count)))
    return names


def _pixels(examples: Examples, name: str) -> np.ndarray:
    assert not isinstance(examples.values, Latents)
    return pixels_of(examples.values[examples.ids.index(name)])


def pixels_of(picture: torch.Tensor) -> np.ndarray:
    """Return a picture of uint8 pixels, or of float32 in [-1, 1], as uint8 [C, H, W]."""
    return picture.numpy() if picture.dtype == torch.uint8 else images.to_pixels(picture)
