"""What a model denoises: training examples and queries alike, pictures or latents, with their conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.config import SamplerConfig
from whence.data import Dataset
from whence.diffusion.codec import Pixels
from whence.diffusion.prompts import Prompts
from whence.errors import DataError, NotFiniteError
from whence.images import require_texts, to_tensor

KIND = "examples"
_CONDITIONS, _ROWS = "conditions/", "rows/"
_TENSORS = "examples.safetensors"


@dataclass(frozen=True)
class Origin:
    """How pictures were drawn.

    Attributes:
        sampler: Settings of the sampler.
        drawn: Whether the model that is explained drew them by itself, from the noise of their ids SEED/INDEX, so that
            `whence.diffusion.sampling.predicted_clean` can draw them again.
        prompts: The prompts that they were drawn from; None for a model without text.
    """

    sampler: SamplerConfig
    drawn: bool
    prompts: Prompts | None = None


@dataclass(frozen=True, eq=False)
class Repeated:
    """A condition that few values of occur, such as embedded captions: each value is kept once.

    Attributes:
        values: The distinct values [D, ...].
        rows: Which of them each example has, int64 [N].

    Example:
        >>> Repeated(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 1, 0]))[[0, 2]].tolist()
        [[2.0], [1.0]]
    """

    values: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor | Sequence[int] | np.ndarray) -> Tensor:
        return self.values[self.rows[torch.as_tensor(rows)]]

    def select(self, rows: Tensor) -> Repeated:
        """The condition of some examples, without copies of its values."""
        return Repeated(self.values, self.rows[rows])


@dataclass(frozen=True, eq=False)
class Examples:
    """Training examples or queries.

    Attributes:
        ids: Their ids, N, all different.
        values: uint8 pixels, or float32 pictures in [-1, 1] or latents, [N, C, H, W]; an array becomes a tensor.
        conditions: Further arguments of the network by name, [N, ...] each; `Repeated` where examples share them.
        origin: How queries were drawn, if known; no part of the fingerprint, and not written to disk.
        notes: What reading the pictures left out or changed; as `origin`.
        pictures: The pictures of latents, for pages, uint8 [N, C, H, W]; as `origin`.
        captions: Their captions or prompts, for pages; empty if there are none; as `origin`.

    Raises:
        ConfigError: An id is no text.
        DataError: There are no examples, two have the same id, a tensor has another number of rows, or values are
            integers other than pixels.

    Example:
        >>> examples = Examples(("b", "a"), torch.tensor([[[[255]]], [[[0]]]], dtype=torch.uint8))
        >>> examples.sorted().ids, examples.sorted().x(range(2)).flatten().tolist()
        (('a', 'b'), [-1.0, 1.0])
    """

    ids: tuple[str, ...]
    values: Tensor
    conditions: Mapping[str, Tensor | Repeated] = field(default_factory=dict)
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    pictures: Tensor | None = None
    captions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.ids:
            raise DataError("There are no examples to take gradients of.")
        require_texts(self.ids)
        if len(set(self.ids)) < len(self.ids):
            raise DataError(f"{len(self.ids)} examples have only {len(set(self.ids))} different ids.")
        vars(self).update(
            ids=tuple(self.ids),
            values=to_tensor(self.values),
            conditions={n: c if isinstance(c, Repeated) else to_tensor(c) for n, c in self.conditions.items()},
        )
        for name, rows in {"values": self.values, **self.conditions}.items():
            count = 0 if isinstance(rows, Tensor) and not rows.ndim else len(rows)
            if count != len(self.ids):
                raise DataError(f"There are {len(self.ids)} ids, but {count} {name}.")
        if self.values.dtype != torch.uint8 and not self.values.is_floating_point():
            raise DataError(
                f"The values of examples are {self.values.dtype}; give uint8 pixels, or float32 pictures in [-1, 1] or "
                "latents."
            )

    @classmethod
    def of(cls, data: Dataset) -> Examples:
        """Return the images of a data set."""
        return cls(data.ids, artefacts.to_tensor(data.pixels))

    def __len__(self) -> int:
        return len(self.ids)

    def x(self, rows: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """Return what the model denoises, float32 [n, C, H, W]; pixels become pixel / 127.5 - 1."""
        chosen = self.values[torch.as_tensor(rows)]
        return Pixels().encode(chosen) if chosen.dtype == torch.uint8 else chosen.float()

    def conditions_of(self, rows: Sequence[int] | np.ndarray | Tensor) -> dict[str, Tensor]:
        """Return the conditions of some rows."""
        return {name: condition[torch.as_tensor(rows)] for name, condition in self.conditions.items()}

    def head(self, count: int) -> Examples:
        """Return the first examples, at most `count`."""
        return self.block(range(min(count, len(self))))

    def repeated(self, ids: Sequence[str]) -> Examples:
        """Return the first example under other ids, without copies of its values."""
        rows = torch.zeros(len(ids), dtype=torch.int64)
        conditions = {name: Repeated(condition[[0]], rows) for name, condition in self.conditions.items()}
        return Examples(tuple(ids), self.values[:1].expand(len(ids), *self.values.shape[1:]), conditions)

    def block(self, rows: range) -> Examples:
        """Return the examples of consecutive rows."""
        return self._select(range(len(self))[rows.start : rows.stop])

    def sorted(self) -> Examples:
        """Return the examples in the order of their ids, on which batches depend."""
        return self._select(sorted(range(len(self)), key=self.ids.__getitem__))

    def ordered(self, ids: Sequence[str]) -> Examples:
        """Return the examples of these ids, in their order.

        Example:
            >>> Examples(("a", "b"), torch.tensor([[[[0]]], [[[255]]]], dtype=torch.uint8)).ordered(["b", "a"]).ids
            ('b', 'a')
        """
        if tuple(ids) == self.ids:
            return self
        rows = {name: n for n, name in enumerate(self.ids)}
        return self._select([rows[name] for name in ids])

    def _select(self, rows: Sequence[int]) -> Examples:
        at = slice(rows.start, rows.stop) if isinstance(rows, range) else torch.tensor(rows)
        index = torch.tensor(rows)
        conditions = {
            name: condition.select(index) if isinstance(condition, Repeated) else condition[at]
            for name, condition in self.conditions.items()
        }
        ids = tuple(self.ids[n] for n in rows)
        pictures = None if self.pictures is None else self.pictures[at]
        captions = tuple(self.captions[n] for n in rows) if self.captions else ()
        return Examples(ids, self.values[at], conditions, self.origin, self.notes, pictures, captions)

    def require_finite(self) -> None:
        """Check that no value is NaN or infinite; the message names the example."""
        for name, rows in {"values": self.values, **self.conditions}.items():
            tensor = rows.values if isinstance(rows, Repeated) else rows
            bad = (~tensor.isfinite()).flatten(1).any(1) if tensor.dim() > 1 else ~tensor.isfinite()
            bad = bad[rows.rows] if isinstance(rows, Repeated) else bad
            for n in bad.nonzero().flatten()[:1].tolist():
                raise NotFiniteError(
                    f"The {name} of {self.ids[n]!r} are not finite ({int(bad.sum())} of {len(self)} examples). Leave "
                    "it out or restore it."
                )

    def require_range(self) -> None:
        """Check that floating point values are not pixels of 0 ... 255; latents may have any other range."""
        values = self.values
        if values.is_floating_point() and values.min() >= 0 and values.max() > 2:
            raise DataError(
                f"The values of {len(self)} examples are between {values.min():g} and {values.max():g}, like pixels of "
                "0 ... 255. Give pixels as uint8, pictures in [-1, 1] (x / 127.5 - 1), or latents."
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, values and conditions in the order of the ids."""
        ordered = self.sorted()
        tensors = {name.removeprefix(_CONDITIONS): tensor for name, tensor in ordered._tensors.items()}
        return artefacts.digest([ordered.ids, artefacts.tensor_digests(tensors)])

    @property
    def _tensors(self) -> dict[str, Tensor]:
        """Values and conditions by their names on disk."""
        tensors = {"values": self.values}
        for name, condition in self.conditions.items():
            if isinstance(condition, Repeated):
                tensors[_ROWS + name] = condition.rows
            tensors[_CONDITIONS + name] = condition.values if isinstance(condition, Repeated) else condition
        return tensors

    def write(self, path: Path) -> None:
        """Write the examples, sorted, as an artefact; the same are left as they are, others are a `MismatchError`."""

        def build(part: Path) -> None:
            ordered = self.sorted()
            tensors = {name: tensor.contiguous() for name, tensor in ordered._tensors.items()}
            artefacts.write_tensors(part / _TENSORS, tensors)
            artefacts.write_table(part / "examples.parquet", {"id": list(ordered.ids)})

        artefacts.ensure(path, KIND, inputs={"examples": self.fingerprint}, made={}, build=build)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> Examples:
        """The examples at `path`, mapped from disk; an `ArtefactError` if they are missing or unfinished."""
        manifest = artefacts.read_manifest(path, KIND)
        tensors = artefacts.read_tensors(path / _TENSORS)
        values = tensors.pop("values")
        rows = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_ROWS)}
        conditions: dict[str, Tensor | Repeated] = {}
        for place, tensor in tensors.items():
            name = place.removeprefix(_CONDITIONS)
            conditions[name] = Repeated(tensor, rows[_ROWS + name]) if _ROWS + name in rows else tensor
        examples = cls(tuple(artefacts.read_table(path / "examples.parquet")["id"]), values, conditions)
        vars(examples)["fingerprint"] = str(manifest.inputs["examples"])
        return examples
