"""The feature store: features of a set of examples on disk, resumable, extensible by more draws.

    STORE/draws-00100/            an artefact: the features summed over 100 draws
        shard-00000.safetensors   one tensor [n, p] for each readout, for one shard of examples
        examples.parquet          ids in the order of the rows

It states what it was made from (model, data, widths) and how (draws, readouts, compression, batch). More draws go on
from the sums that are there and give, bit for bit, what all draws at once give. Examples are sorted by id, so that the
batches, and with them the last bits, don't depend on the order in which examples were given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def made(self, count: int) -> dict[str, Any]:
        """How the features of `count` draws are made, for the manifest."""
        draws = {"seed": self.draws.seed, "timesteps": self.draws.timesteps, "shared": self.draws.shared}
        return {
            "draws": draws | {"antithetic": self.draws.antithetic, "count": count},
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
        MismatchError: The store was made from something else, or of other examples.
        ConfigError: The store has another number of draws already, which `count` doesn't extend.
    """
    done = _counts(path)[-1:]
    before = None
    for known in done:
        artefacts.existing(_folder(path, known), KIND, inputs=request.inputs, made=request.made(known))
        before = Features.open(path)
        if count < known:
            raise ConfigError(f"{path} holds {known} draws already; ask for as many at least. Given {count}.")
        if count == known:
            return before
    order = sorted(range(len(ids)), key=lambda n: ids[n])
    names = [ids[n] for n in order]
    if before is not None and before.ids != tuple(names):
        raise MismatchError(f"{path} holds features of {len(before.ids)} other examples; {len(names)} were given.")
    with artefacts.create(_folder(path, count), KIND, inputs=request.inputs, made=request.made(count)) as part:
        artefacts.write_table(part / "examples.parquet", {"id": names})
        shards = range(0, len(ids), SHARD)
        for number, first in enumerate(shards):
            file, here = part / _file(number), slice(first, first + SHARD)
            if not file.exists():
                start = before.sums(number) if before else None
                indices = range(before.draws if before else 0, count)
                with one_thread():
                    found = summed_features(
                        model,
                        collector,
                        x[order[here]],
                        names[here],
                        request.draws,
                        indices,
                        request.readouts,
                        start=start,
                    )
                artefacts.write_tensors(file, found)
            report(number + 1, len(shards))
    return Features.open(path)


@dataclass(frozen=True)
class Features:
    """Features on disk.

    Attributes:
        path: The artefact with the most draws in the store.
        ids: Example ids, N, in the order of the rows.
        draws: Number of draws.
    """

    path: Path
    ids: tuple[str, ...]
    draws: int

    @classmethod
    def open(cls, path: Path) -> Features:
        """Return the features in the store at `path`, their files checked against their hashes.

        Raises:
            ArtefactError: There are none, or they are damaged.
        """
        counts = _counts(path)
        if not counts:
            raise ArtefactError(f"{path} holds no features. Make them with `whence attribute`.")
        folder = _folder(path, counts[-1])
        artefacts.read_verified(folder, KIND)
        return cls(folder, tuple(artefacts.read_table(folder / "examples.parquet")["id"]), counts[-1])

    def sums(self, number: int) -> dict[str, Tensor]:
        """Features of the examples of a shard, summed over the draws, float32 [n, p] for each readout."""
        return artefacts.read_tensors(self.path / _file(number))

    def shards(self, readout: str) -> Iterator[Tensor]:
        """Mean features over the draws, float32 [n, p] for one shard of examples after the other."""
        for number in range(-(-len(self.ids) // SHARD)):
            yield self.sums(number)[readout] / self.draws


def _folder(path: Path, count: int) -> Path:
    return path / f"draws-{count:05d}"


def _file(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def _counts(path: Path) -> list[int]:
    """The numbers of draws whose features are whole, in ascending order."""
    folders = artefacts.whole(path, "draws-*") if path.exists() else []
    return sorted(int(folder.name.removeprefix("draws-")) for folder in folders)
