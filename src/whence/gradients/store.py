"""The feature store: features of a set of examples on disk, resumable, extensible by more draws.

    STORE/draws-00000-00010/      an artefact: the features summed over the draws 0 ... 9
        shard-00000.safetensors   one tensor [n, p] for each readout, for one shard of examples
        examples.parquet          ids in the order of the rows
    STORE/draws-00010-00100/      what a later run with 100 draws added

Each artefact states what it was made from (model, data, widths) and how (draws, readouts, compression, batch); ranges
that were made otherwise are refused. Examples are sorted by id, so that the batches, and with them the last bits, don't
depend on the order in which examples were given. Features are added up range by range in ascending order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.draws import Draws
from whence.diffusion.process import DiffusionModel
from whence.engine import Report, one_thread, silent
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.gradients.collect import Collector
from whence.gradients.features import BATCH, ROWS, summed_features

KIND = "features"
#: Examples in one file; an interrupted run goes on with the first file that is missing.
SHARD = 512


@dataclass(frozen=True)
class Request:
    """What features are wanted.

    Attributes:
        inputs: Fingerprints of what they are made from, by role: model, data.
        compression: The resolved compression with the shares of the layers, as JSON values.
        draws: Gives timesteps and noise.
        readouts: Names of the readouts.
    """

    inputs: Mapping[str, str]
    compression: Mapping[str, Any]
    draws: Draws
    readouts: tuple[str, ...]

    def made(self, indices: range) -> dict[str, Any]:
        """How the features of a range of draws are made, for its manifest."""
        draws = {"seed": self.draws.seed, "timesteps": self.draws.timesteps, "shared": self.draws.shared}
        return {
            "draws": draws | {"antithetic": self.draws.antithetic, "first": indices.start, "last": indices.stop - 1},
            "readouts": list(self.readouts),
            "compression": dict(self.compression),
            "batch": [BATCH, ROWS, SHARD],
        }


def extend(
    path: Path,
    request: Request,
    model: DiffusionModel,
    collector: Collector,
    x: Tensor,
    ids: Sequence[str],
    count: int,
    report: Report = silent,
) -> Features:
    """Make the features of `count` draws, or add to those that are there what is missing.

    Args:
        path: The store.
        request: What is wanted; must be what the store holds already.
        model: The model.
        collector: Of its network, with the maps that the request's compression describes.
        x: Clean images float32 [N, C, H, W] in [-1, 1].
        ids: Their ids, N, all different.
        count: Draws in all, even.
        report: Called with (shards done, shards in all).

    Returns:
        The features.

    Raises:
        MismatchError: The store was made from something else.
        ConfigError: The store has another number of draws already, which `count` doesn't extend.
    """
    begun = _ranges(path)
    done = begun[-1].stop if begun else 0
    for indices in begun:
        artefacts.existing(_folder(path, indices), KIND, inputs=request.inputs, made=request.made(indices))
    if count < done:
        raise ConfigError(f"{path} holds {done} draws already; ask for as many at least. Given {count}.")
    order = sorted(range(len(ids)), key=lambda n: ids[n])
    if count > done:
        indices, inputs = range(done, count), dict(request.inputs)
        with artefacts.create(_folder(path, indices), KIND, inputs=inputs, made=request.made(indices)) as part:
            artefacts.write_table(part / "examples.parquet", {"id": [ids[n] for n in order]})
            shards = range(0, len(ids), SHARD)
            for number, first in enumerate(shards):
                file, here = part / f"shard-{number:05d}.safetensors", order[first : first + SHARD]
                if not file.exists():
                    names = [ids[n] for n in here]
                    with one_thread():
                        found = summed_features(
                            model, collector, x[here], names, request.draws, indices, request.readouts
                        )
                    artefacts.write_tensors(file, found)
                report(number + 1, len(shards))
    return Features.open(path)


@dataclass(frozen=True)
class Features:
    """Features on disk.

    Attributes:
        path: The store.
        ids: Example ids, N, in the order of the rows.
        ranges: The draws of each part, in ascending order.
    """

    path: Path
    ids: tuple[str, ...]
    ranges: tuple[range, ...]

    @classmethod
    def open(cls, path: Path) -> Features:
        """Return the features at `path`, their files checked against their hashes.

        Raises:
            ArtefactError: There are none, or they are damaged.
            MismatchError: Parts hold other examples or were made otherwise.
        """
        ranges = _ranges(path)
        if not ranges or ranges[0].start:
            raise ArtefactError(f"{path} holds no features. Make them with `whence attribute`.")
        manifests = [artefacts.read_verified(_folder(path, indices), KIND) for indices in ranges]
        tables = [artefacts.read_table(_folder(path, indices) / "examples.parquet")["id"] for indices in ranges]
        for indices, manifest, table in zip(ranges, manifests, tables, strict=True):
            how = {key: value for key, value in manifest.made.items() if key != "draws"}
            same = how == {key: value for key, value in manifests[0].made.items() if key != "draws"}
            if table != tables[0] or manifest.inputs != manifests[0].inputs or not same:
                raise MismatchError(f"{_folder(path, indices)} was made from something else than the rest of {path}.")
        return cls(path, tuple(tables[0]), tuple(ranges))

    @property
    def draws(self) -> int:
        """Number of draws."""
        return self.ranges[-1].stop

    def shards(self, readout: str) -> list[Tensor]:
        """Mean features over the draws, float32 [n, p] for each shard of examples."""
        found = []
        for number in range(-(-len(self.ids) // SHARD)):
            parts = [_folder(self.path, indices) / f"shard-{number:05d}.safetensors" for indices in self.ranges]
            found.append(torch.stack([artefacts.read_tensors(part)[readout] for part in parts]).sum(0) / self.draws)
        return found


def _folder(path: Path, indices: range) -> Path:
    return path / f"draws-{indices.start:05d}-{indices.stop:05d}"


def _ranges(path: Path) -> list[range]:
    """The ranges of draws that are whole, in ascending order.

    Raises:
        ArtefactError: There is a gap between them, or they overlap.
    """
    names = [folder.name for folder in artefacts.whole(path, "draws-*")] if path.exists() else []
    matches = [re.fullmatch(r"draws-(\d+)-(\d+)", name) for name in names]
    found = sorted((range(int(m[1]), int(m[2])) for m in matches if m), key=lambda indices: indices.start)
    for before, after in zip(found, found[1:], strict=False):
        if after.start != before.stop:
            raise ArtefactError(f"{path} lacks the draws {before.stop} to {after.start - 1}.")
    return found
