"""Features on disk.

FOLDER/loss/draws-00100/      an artefact: one kind of features, summed over 100 draws
00000.safetensors         sums [8, n, p] by group of draws, norms and losses [n, T], for one batch of examples
examples.parquet          ids in the order of the rows
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.example_files import TABLE
from whence.errors import ArtefactError
from whence.gradients.features import Feature, Sums, outside

KIND = "features"
#: How the sums are kept on disk.
Precision = Literal["float32", "float16"]


@dataclass(frozen=True)
class StoredFeatures:
    """Features of one kind on disk.

    Attributes:
        path: Their artefact.
        count: Number N of examples.
        draws: Number T of draws.
        widths: Number of features of every layer, in the order of the columns.
        file_count: Number of files of sums.
    """

    path: Path
    count: int
    draws: int
    widths: tuple[int, ...]
    file_count: int

    @classmethod
    @artefacts.reader
    def open(cls, folder: Path, feature: Feature) -> StoredFeatures:
        """The features of a kind in a folder, after a check of their files against their hashes."""
        counts = draw_counts(folder / feature.name)
        if not counts:
            raise ArtefactError(f"{folder} holds no features of {feature.name!r}. Make them with `whence attribute`.")
        path = features_path(folder, feature, counts[-1])
        manifest = artefacts.read_verified(path, KIND)
        count = artefacts.count_rows(path / TABLE)
        file_count = sum(name.endswith(".safetensors") for name in manifest.files)
        return cls(path, count, counts[-1], tuple(manifest.made["compression"]["widths"]), file_count)

    @property
    def ids(self) -> Sequence[str]:
        """Example ids, N, in the order of the rows; read each time, so that they are not held in memory."""
        return artefacts.TextColumn(self.path / TABLE, "id")

    def files(self, numbers: range | None = None) -> Iterator[Path]:
        """Yield the files of sums, in the order of the rows, or those of some numbers."""
        return (artefacts.numbered_file(self.path, k) for k in (range(self.file_count) if numbers is None else numbers))

    def shards(self) -> Iterator[Sums]:
        """Yield the sums of one batch of examples after the other."""
        return map(read_sums, self.files())

    def block(self, rows: range) -> Sums:
        """Return the sums of consecutive examples; only the files that they are in are read."""
        first = rows.start // self._step
        parts = [read_sums(file) for file in self.files(range(first, -(-rows.stop // self._step)))]
        at = slice(rows.start - first * self._step, rows.stop - first * self._step)
        sums = parts[0].sums if len(parts) == 1 else torch.cat([part.sums for part in parts], 1)
        norms, losses = (torch.cat([vars(part)[name] for part in parts]) for name in ("norms", "losses"))
        return Sums(sums[:, at], norms[at], losses[at])

    @cached_property
    def _step(self) -> int:
        """Examples of a file; the last one may have fewer."""
        return len(artefacts.read_tensors(next(self.files()))["losses"])

    @cached_property
    def _losses(self) -> Tensor:
        return torch.cat([artefacts.read_tensors(file)["losses"] for file in self.files()])

    @cached_property
    def sums(self) -> Tensor:
        """Sums over all draws, float32 [N, p]."""
        return torch.cat([shard.sums.sum(0) for shard in self.shards()])

    def mean(self, without: int | None = None) -> Tensor:
        """φ_n, float32 [N, p]: the mean over the draws, or over the draws outside of one group."""
        if without is None:
            return self.sums / self.draws
        rest = torch.cat([_read_group(file, without) for file in self.files()]).neg_().add_(self.sums)
        return rest.div_(int(outside(self.draws, without).sum()))

    def loss(self, without: int | None = None) -> Tensor:
        """Mean loss of every example over the draws, float32 [N], or over the draws outside of one group."""
        return self._losses[:, outside(self.draws, without)].mean(1)

    def norms(self, step: int = 1) -> Tensor:
        """‖P g‖ of every example, or of every `step`-th one, and draw: float32 [n, T]."""
        starts = range(0, self.count, self._step)
        parts = zip(starts, self.shards(), strict=True)
        return torch.cat([shard.norms[-start % step :: step] for start, shard in parts])


def draw_counts(path: Path) -> list[int]:
    """Return the numbers of draws of the features of one kind that are whole, in ascending order."""
    artefact_paths = artefacts.whole(path, "draws-*") if path.exists() else []
    return sorted(int(artefact_path.name.removeprefix("draws-")) for artefact_path in artefact_paths)


def features_path(folder: Path, feature: Feature, draws: int) -> Path:
    """Return where the features of a kind are."""
    return folder / feature.name / f"draws-{draws:05d}"


def write_sums(file: Path, sums: Sums, precision: Precision) -> None:
    """Write sums; in half precision each sum is divided by its largest entry, which is kept as its scale."""
    tensors = {"norms": sums.norms, "losses": sums.losses, "sums": sums.sums}
    if precision == "float16":
        scale = sums.sums.abs().amax(2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        tensors |= {"sums": (sums.sums / scale).half(), "scale": scale}
    artefacts.write_tensors(file, tensors)


def read_sums(file: Path) -> Sums:
    """Return the sums in a file."""
    tensors = artefacts.read_tensors(file)
    sums = tensors["sums"].float()
    return Sums(sums * tensors["scale"] if "scale" in tensors else sums, tensors["norms"], tensors["losses"])


def _read_group(file: Path, number: int) -> Tensor:
    """Return the sums over one group of draws, float32 [n, p]."""
    sums = artefacts.read_row(file, "sums", number)
    return sums if sums.dtype == torch.float32 else sums.float() * artefacts.read_row(file, "scale", number)
