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
from whence.data import Dataset
from whence.diffusion.codec import Pixels
from whence.diffusion.example_files import (
    CONDITIONS,
    FOCUS,
    condition_tensors,
    conditions_in,
    read_example_files,
    write_example_files,
)
from whence.diffusion.example_order import in_order
from whence.diffusion.example_rows import place_of, select_rows
from whence.diffusion.focus import Focus
from whence.diffusion.latents import MEAN, Latents
from whence.diffusion.origin import Origin
from whence.diffusion.repeated import Repeated
from whence.diffusion.shards import Shards
from whence.errors import ConfigError, DataError
from whence.images import require_texts, to_tensor
from whence.ragged import Ragged, groups_of, rows_in, tensors_of

KIND = "examples"


@dataclass(frozen=True, eq=False)
class Examples:
    """Training examples or queries.

    Attributes:
        ids: Their ids, N, all different.
        values: uint8 pixels, or float32 pictures in [-1, 1] or latents, [N, C, H, W]; an array becomes a tensor. Or
            `Latents` with deviations and mirror images, which may be larger than memory. Tensors of several shapes are
            `Ragged`.
        conditions: Further arguments of the network by name, [N, ...] each; `Repeated` where examples share them.
        origin: How queries were drawn, if known; no part of the fingerprint, and not written to disk.
        notes: What reading the pictures left out or changed; as `origin`.
        pictures: The pictures of latents, for pages, uint8 [N, C, H, W], or `Ragged`; as `origin`.
        captions: Their captions or prompts, for pages; empty if there are none; as `origin`.
        focus: The part of queries that is explained; None for all of them.

    Raises:
        ConfigError: An id is no text.
        DataError: There are no examples, two have the same id, a tensor has another number of rows, values are
            integers other than pixels, or the focus is of other queries.

    Example:
        >>> examples = Examples(("b", "a"), torch.tensor([[[[255]]], [[[0]]]], dtype=torch.uint8))
        >>> examples.sorted().ids, examples.sorted().x(range(2)).flatten().tolist()
        (('a', 'b'), [-1.0, 1.0])
    """

    ids: tuple[str, ...]
    values: Tensor | Ragged | Latents
    conditions: Mapping[str, Tensor | Repeated] = field(default_factory=dict)
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    pictures: Tensor | Ragged | None = None
    captions: tuple[str, ...] = ()
    focus: Focus | None = None

    def __post_init__(self) -> None:
        if not self.ids:
            raise DataError("There are no examples to take gradients of.")
        require_texts(self.ids)
        if len(set(self.ids)) < len(self.ids):
            raise DataError(f"{len(self.ids)} examples have only {len(set(self.ids))} different ids.")
        vars(self).update(
            ids=tuple(self.ids),
            values=self.values if isinstance(self.values, Latents | Ragged) else to_tensor(self.values),
            conditions={n: c if isinstance(c, Repeated) else to_tensor(c) for n, c in self.conditions.items()},
        )
        for name, rows in {"values": self.values, **self.conditions}.items():
            count = 0 if isinstance(rows, Tensor) and not rows.ndim else len(rows)
            if count != len(self.ids):
                raise DataError(f"There are {len(self.ids)} ids, but {count} {name}.")
        if self.values.dtype != torch.uint8 and not self.values.dtype.is_floating_point:
            raise DataError(
                f"The values of examples are {self.values.dtype}; give uint8 pixels, or float32 pictures in [-1, 1] or "
                "latents."
            )
        if self.focus is not None:
            self.focus.require_fit(len(self), self.values, self.conditions)

    @classmethod
    def of(cls, data: Dataset) -> Examples:
        """Return the images of a data set."""
        return cls(data.ids, data.tensor)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, ...]:
        """Shape of an example; a `DataError` if they have several."""
        return tuple(self.values.shape[1:])

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each example."""
        rows = self._tensors[MEAN]
        return rows.shapes if isinstance(rows, Ragged) else (self.size,) * len(self)

    def groups(self, rows: np.ndarray | None = None) -> list[np.ndarray]:
        """Return the positions of those of each shape, among all examples or some rows of them; shapes are sorted."""
        return groups_of(self._tensors[MEAN], rows)

    def by_shape(self) -> list[Examples]:
        """Return the examples of each shape; all of them where there is one."""
        groups = self.groups()
        return [self] if len(groups) == 1 else [self.select(group.tolist()) for group in groups]

    @property
    def tensor(self) -> Tensor:
        """The values as one tensor [N, C, H, W] in memory; the means of latents. They must have one shape."""
        if isinstance(self.values, Ragged):
            return self.values.shape
        return self.values if isinstance(self.values, Tensor) else self.x(range(len(self)))

    def x(
        self,
        rows: Sequence[int] | np.ndarray | Tensor,
        mirrored: np.ndarray | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return what the model denoises, float32 [n, C, H, W]; pixels become pixel / 127.5 - 1.

        Args:
            rows: Rows of the examples, n of them, of one shape.
            mirrored: Of which the mirror image is seen, bool [n].
            noise: The noise of a sample of the posterior of latents [n, C, H, W]; None gives the mean.

        Raises:
            ConfigError: A posterior is needed, and the examples have none.
            DataError: The rows have several shapes.
        """
        at, mirror = torch.as_tensor(rows), None if mirrored is None else torch.from_numpy(mirrored)
        if isinstance(self.values, Latents):
            return self.values.x(at, mirror, noise)
        if noise is not None:
            raise ConfigError("Samples of latents need their posterior, and these examples are tensors. Give images.")
        chosen: Tensor | Ragged = self.values[at]
        if isinstance(chosen, Ragged):
            return chosen.shape
        x = Pixels().encode(chosen) if chosen.dtype == torch.uint8 else chosen.float()
        return x if mirror is None else torch.where(mirror.reshape(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)

    def conditions_of(self, rows: Sequence[int] | np.ndarray | Tensor) -> dict[str, Tensor]:
        """Return the conditions of some rows."""
        return {name: condition[torch.as_tensor(rows)] for name, condition in self.conditions.items()}

    def head(self, count: int) -> Examples:
        """Return the first examples, at most `count`."""
        return self.block(range(min(count, len(self))))

    def repeated(self, ids: tuple[str, ...]) -> Examples:
        """Return the first example under each of these ids; it is not copied."""
        rows = torch.zeros(len(ids), dtype=torch.int64)
        values = self.values
        values = values.select(rows) if isinstance(values, Latents) else values[:1].expand(len(ids), *self.sizes[0])
        return Examples(ids, values, {name: Repeated(one[[0]], rows) for name, one in self.conditions.items()})

    def block(self, rows: range) -> Examples:
        """Return the examples of consecutive rows."""
        return self.select(range(len(self))[rows.start : rows.stop])

    def sorted(self) -> Examples:
        """Return the examples in the order on which batches depend, of shapes and ids; none is copied if they are."""
        return in_order(self)

    def ordered(self, ids: Sequence[str]) -> Examples:
        """Return the examples of these ids, in their order.

        Example:
            >>> Examples(("a", "b"), torch.tensor([[[[0]]], [[[255]]]], dtype=torch.uint8)).ordered(["b", "a"]).ids
            ('b', 'a')
        """
        if tuple(ids) == self.ids:
            return self
        rows = {name: n for n, name in enumerate(self.ids)}
        return self.select([rows[name] for name in ids])

    def select(self, rows: Sequence[int]) -> Examples:
        """Return the examples of some rows, in their order."""
        values, conditions, focus = select_rows(rows, self.values, self.conditions, self.focus)
        ids = tuple(self.ids[n] for n in rows)
        pictures = None if self.pictures is None else self.pictures[place_of(rows)]
        captions = tuple(self.captions[n] for n in rows) if self.captions else ()
        return Examples(ids, values, conditions, self.origin, self.notes, pictures, captions, focus)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, values, conditions and focus in the order of `sorted`."""
        ordered = self.sorted()
        parts = {name: one for key, rows in ordered._tensors.items() for name, one in tensors_of(key, rows).items()}
        tensors = {name.removeprefix(CONDITIONS): tensor for name, tensor in parts.items()}
        return artefacts.digest([ordered.ids, artefacts.tensor_digests(tensors)])

    @property
    def _tensors(self) -> dict[str, Tensor | Shards | Ragged]:
        """Values, conditions and focus by their names on disk."""
        values = self.values.tensors if isinstance(self.values, Latents) else {MEAN: self.values}
        focus = {} if self.focus is None else self.focus.tensors
        return {**values, **condition_tensors(self.conditions), **{FOCUS + name: one for name, one in focus.items()}}

    def write(self, path: Path) -> None:
        """Write the examples, sorted, as an artefact; the same are left as they are, others are a `MismatchError`."""

        def build(part: Path) -> None:
            ordered = self.sorted()
            write_example_files(part, ordered.ids, ordered._tensors)

        artefacts.ensure(path, KIND, inputs={"examples": self.fingerprint}, made={}, build=build)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> Examples:
        """The examples at `path`, mapped from disk; an `ArtefactError` if they are missing or unfinished."""
        manifest = artefacts.read_manifest(path, KIND)
        examples = cls.read_files(path)
        vars(examples)["fingerprint"] = str(manifest.inputs["examples"])
        return examples

    @classmethod
    @artefacts.reader
    def read_files(cls, folder: Path, rows: range | None = None) -> Examples:
        """The examples of files in a folder, mapped from disk, or some rows; an `ArtefactError` if one is damaged."""
        ids, tensors, latents = read_example_files(folder, rows)
        values: Tensor | Ragged | Latents = Latents(latents) if latents else rows_in(MEAN, tensors)
        conditions: Mapping[str, Tensor | Repeated] = conditions_in(tensors)
        of_focus = {name.removeprefix(FOCUS): one for name, one in tensors.items() if name.startswith(FOCUS)}
        focus = Focus.of_tensors(of_focus)
        if rows is not None:
            values, conditions, focus = select_rows(rows, values, conditions, focus)
        return cls(ids, values, conditions, focus=focus)
