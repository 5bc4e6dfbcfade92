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
from whence.diffusion.focus import Focus
from whence.diffusion.latents import MEAN, Latents
from whence.diffusion.origin import Origin
from whence.diffusion.repeated import Repeated
from whence.diffusion.shards import Shards
from whence.errors import ConfigError, DataError, NotFiniteError
from whence.images import require_texts, to_tensor

KIND = "examples"


@dataclass(frozen=True, eq=False)
class Examples:
    """Training examples or queries.

    Attributes:
        ids: Their ids, N, all different.
        values: uint8 pixels, or float32 pictures in [-1, 1] or latents, [N, C, H, W]; an array becomes a tensor. Or
            `Latents` with deviations and mirror images, which may be larger than memory.
        conditions: Further arguments of the network by name, [N, ...] each; `Repeated` where examples share them.
        origin: How queries were drawn, if known; no part of the fingerprint, and not written to disk.
        notes: What reading the pictures left out or changed; as `origin`.
        pictures: The pictures of latents, for pages, uint8 [N, C, H, W]; as `origin`.
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
    values: Tensor | Latents
    conditions: Mapping[str, Tensor | Repeated] = field(default_factory=dict)
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    pictures: Tensor | None = None
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
            values=self.values if isinstance(self.values, Latents) else to_tensor(self.values),
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
            self.focus.require_fit(len(self), self.size, self.conditions)

    @classmethod
    def of(cls, data: Dataset) -> Examples:
        """Return the images of a data set."""
        return cls(data.ids, artefacts.to_tensor(data.pixels))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, ...]:
        """Shape of an example."""
        return tuple(self.values.shape[1:])

    @property
    def tensor(self) -> Tensor:
        """The values as one tensor [N, C, H, W] in memory; the means of latents."""
        return self.values if isinstance(self.values, Tensor) else self.x(range(len(self)))

    def x(
        self,
        rows: Sequence[int] | np.ndarray | Tensor,
        mirrored: np.ndarray | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return what the model denoises, float32 [n, C, H, W]; pixels become pixel / 127.5 - 1.

        Args:
            rows: Rows of the examples, n of them.
            mirrored: Of which the mirror image is seen, bool [n].
            noise: The noise of a sample of the posterior of latents [n, C, H, W]; None gives the mean.

        Raises:
            ConfigError: A posterior is needed, and the examples have none.
        """
        at, mirror = torch.as_tensor(rows), None if mirrored is None else torch.from_numpy(mirrored)
        if isinstance(self.values, Latents):
            return self.values.x(at, mirror, noise)
        if noise is not None:
            raise ConfigError("Samples of latents need their posterior, and these examples are tensors. Give images.")
        chosen = self.values[at]
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
        values = values.select(rows) if isinstance(values, Latents) else values[:1].expand(len(ids), *self.size)
        return Examples(ids, values, {name: Repeated(one[[0]], rows) for name, one in self.conditions.items()})

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
        values = self.values.select(index) if isinstance(self.values, Latents) else self.values[at]
        focus = None if self.focus is None else self.focus.select(index)
        return Examples(ids, values, conditions, self.origin, self.notes, pictures, captions, focus)

    def require_finite(self) -> None:
        """Check that no value is NaN or infinite; the message names the example. Encoders check what they encode."""
        without = {f"{name} without the concept": c for name, c in (self.focus.without if self.focus else {}).items()}
        for name, rows in {"values": self.values, **self.conditions, **without}.items():
            tensor = rows.values if isinstance(rows, Repeated) else rows
            if not isinstance(tensor, Tensor):
                continue
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
        if isinstance(values, Tensor) and values.is_floating_point() and values.min() >= 0 and values.max() > 2:
            raise DataError(
                f"The values of {len(self)} examples are between {values.min():g} and {values.max():g}, like pixels of "
                "0 ... 255. Give pixels as uint8, pictures in [-1, 1] (x / 127.5 - 1), or latents."
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, values, conditions and focus in the order of the ids."""
        ordered = self.sorted()
        tensors = {name.removeprefix(CONDITIONS): tensor for name, tensor in ordered._tensors.items()}
        return artefacts.digest([ordered.ids, artefacts.tensor_digests(tensors)])

    @property
    def _tensors(self) -> dict[str, Tensor | Shards]:
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
    def read_files(cls, folder: Path) -> Examples:
        """The examples whose files are in a folder, mapped from disk; an `ArtefactError` if one is damaged."""
        ids, tensors, shards = read_example_files(folder)
        latents = {name: one for name, one in shards.items() if not name.startswith(CONDITIONS)}
        values = Latents(latents) if latents else tensors[MEAN]
        of_focus = {name.removeprefix(FOCUS): one for name, one in tensors.items() if name.startswith(FOCUS)}
        return cls(ids, values, conditions_in({**tensors, **shards}), focus=Focus.of_tensors(of_focus))
