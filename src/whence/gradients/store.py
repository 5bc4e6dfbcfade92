"""The feature store: features of a set of examples on disk, resumable, extensible by more draws.

    STORE/loss/draws-00100/       an artefact: one kind of features, summed over 100 draws
        00000.safetensors         sums [8, n, p] by group of draws, norms and losses [n, T], for one batch of examples
        examples.parquet          ids in the order of the rows

It states what it was made from (model, examples, compression) and how (draws, batch). More draws go on from the sums
that are there and give, bit for bit, what all draws at once give. Examples are sorted by id and a file holds the
examples of one canonical batch, so the last bits don't depend on the order in which examples were given, on how the
files are shared among processes, or on interruptions.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.examples import Examples
from whence.engine import Report, Task, run, silent
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.gradients.features import Feature, Sums, add_draws, group
from whence.gradients.sources import Source
from whence.gradients.subject import Subject
from whence.scores.jackknife import GROUPS

KIND = "features"
#: Passes over a store that are under way together. Each keeps a file open as a lock, of which a system allows few.
AT_ONCE = 64
#: How the sums are kept on disk.
Precision = Literal["float32", "float16"]


@dataclass(frozen=True)
class Request:
    """What features are wanted, but for their kind and number of draws.

    Attributes:
        subject: The model, its layers and how they are compressed.
        examples: Where the examples are written.
        fingerprint: Of the examples.
        source: Gives timesteps and noise.
        batch: Rows of a batch.
        precision: How the sums are kept on disk.
    """

    subject: Subject
    examples: Path
    fingerprint: str
    source: Source
    batch: int
    precision: Precision = "float32"

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of what the features are made from."""
        return {"model": self.subject.fingerprint, "examples": self.fingerprint}

    def made(self, feature: Feature, draws: int) -> dict[str, Any]:
        """How the features are made, for the manifest."""
        return {
            "feature": feature.name,
            "count": draws,
            "draws": self.source.record(),
            "compression": dict(self.subject.compression),
            "batch": self.batch,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Job:
    """Features that are wanted of one model and one set of examples.

    Attributes:
        path: The store of this model and these examples.
        request: What is wanted; must be what the store holds already.
        features: Their kinds; those that lack the same draws are made in one pass.
        draws: Draws in all.
    """

    path: Path
    request: Request
    features: Sequence[Feature]
    draws: int

    def missing(self) -> dict[int, list[Feature]]:
        """The kinds of features that are missing, by the number of draws that are there already."""
        return plan_passes(self.path, self.request, self.features, self.draws)


def extend(jobs: Sequence[Job], *, workers: int | None = None, report: Report = silent) -> None:
    """Make the features of so many draws, or add to those that are there what is missing.

    Args:
        jobs: What is wanted, each in a store of its own.
        workers: Processes; default one for each core. A model that is not on disk stays in this one.
        report: Called with (rows done, rows in all).

    Raises:
        MismatchError: A store was made from something else.
        ConfigError: A store has more draws already, or can't be extended.
    """
    passes = [(job, before, kinds) for job in jobs for before, kinds in job.missing().items()]
    sizes = [len(Examples.read(job.request.examples)) * (job.draws - before) for job, before, _ in passes]
    travel = all(job.request.subject.can_travel for job in jobs)
    for first in range(0, len(passes), AT_ONCE):
        some, ahead = passes[first : first + AT_ONCE], sum(sizes[:first])
        with ExitStack() as stack:
            tasks = [task for one in some for task in _tasks(stack, *one)]
            run(tasks, workers=workers if travel else 1, report=_after(report, ahead, sum(sizes)))
        for job, before, kinds in some:
            for feature in kinds if before else ():
                shutil.rmtree(_folder(job.path, feature, before))


def _after(report: Report, before: int, total: int) -> Report:
    """A report of a part that comes after others."""
    return lambda done, _: report(before + done, total)


def plan_passes(path: Path, request: Request, features: Sequence[Feature], draws: int) -> dict[int, list[Feature]]:
    """Return the kinds of features that are missing, by the number of draws that are there already.

    Raises:
        MismatchError: The store was made from something else.
        ConfigError: There are more draws already, fewer than one for each group are asked for, or the store can't be
            extended.
    """
    if draws < GROUPS:
        raise ConfigError(
            f"At least {GROUPS} draws are needed, one for each group of the standard errors; given {draws}."
        )
    missing: dict[int, list[Feature]] = {}
    for feature in sorted(set(features)):
        known = counts(path / feature.name)[-1:]
        for count in known:
            artefacts.existing(
                _folder(path, feature, count), KIND, inputs=request.inputs, made=request.made(feature, count)
            )
            if count > draws:
                raise ConfigError(f"{path} holds {count} draws already; ask for as many at least. Given {draws}.")
            if count < draws and request.precision != "float32":
                raise ConfigError(
                    f"{path} holds {count} draws in half precision, which can't be extended to {draws} without "
                    "rounding twice. Use another folder, or float32."
                )
        if known != [draws]:
            missing.setdefault(known[0] if known else 0, []).append(feature)
    return missing


def _tasks(stack: ExitStack, job: Job, before: int, kinds: Sequence[Feature]) -> list[Task]:
    """Open the artefacts of some kinds of features, and return the tasks that fill them in one pass."""
    request, draws = job.request, job.draws
    ids = Examples.read(request.examples).ids
    parts: dict[Feature, Path] = {}
    for feature in kinds:
        folder, made = _folder(job.path, feature, draws), request.made(feature, draws)
        parts[feature] = stack.enter_context(artefacts.create(folder, KIND, inputs=request.inputs, made=made))
        artefacts.write_table(parts[feature] / "examples.parquet", {"id": list(ids)})
    arguments: dict[str, Any] = {
        "request": request,
        "before": before,
        "draws": draws,
        "parts": parts,
        "starts": {feature: _folder(job.path, feature, before) if before else None for feature in kinds},
    }
    shards = range(-(-len(ids) // request.batch))
    rows = [min(request.batch, len(ids) - number * request.batch) * (draws - before) for number in shards]
    return [
        Task(f"features {job.path} {before} {number}", make_shard, {**arguments, "number": number}, rows[number])
        for number in shards
    ]


def make_shard(
    request: Request,
    number: int,
    before: int,
    draws: int,
    parts: Mapping[Feature, Path],
    starts: Mapping[Feature, Path | None],
    report: Report,
) -> None:
    """Make the features of one batch of examples and write them; a task for the engine.

    Raises:
        MismatchError: Model or examples changed since the work was planned.
    """
    files = {feature: part / _file(number) for feature, part in parts.items()}
    every = Examples.read(request.examples)
    rows = range(number * request.batch, min((number + 1) * request.batch, len(every)))
    total = len(rows) * (draws - before)
    if not all(file.exists() for file in files.values()):
        if every.fingerprint != request.fingerprint:
            raise MismatchError(f"{request.examples} changed while features were made. Run the command again.")
        examples = every.block(rows)
        model, collector = request.subject.opened()
        found = {
            feature: _read(folder / _file(number)) if folder else Sums.empty(len(rows), collector.maps.width)
            for feature, folder in starts.items()
        }
        add_draws(
            model,
            collector,
            examples,
            request.source,
            range(before, draws),
            found,
            request.batch,
            lambda done, _: report(len(rows) * done, total),
        )
        for feature, sums in found.items():
            _write(files[feature], sums, request.precision)
    report(total, total)


def _write(file: Path, sums: Sums, precision: Precision) -> None:
    """Half precision keeps each sum divided by its largest entry."""
    tensors = {"norms": sums.norms, "losses": sums.losses, "sums": sums.sums}
    if precision == "float16":
        scale = sums.sums.abs().amax(2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        tensors |= {"sums": (sums.sums / scale).half(), "scale": scale}
    artefacts.write_tensors(file, tensors)


def _read(file: Path) -> Sums:
    tensors = artefacts.read_tensors(file)
    sums = tensors["sums"].float()
    return Sums(sums * tensors["scale"] if "scale" in tensors else sums, tensors["norms"], tensors["losses"])


def _read_group(file: Path, number: int) -> Tensor:
    """The sums over one group of draws, float32 [n, p]."""
    sums = artefacts.read_row(file, "sums", number)
    return sums if sums.dtype == torch.float32 else sums.float() * artefacts.read_row(file, "scale", number)


@dataclass(frozen=True)
class Features:
    """Features of one kind on disk.

    Attributes:
        path: Their artefact.
        ids: Example ids, N, in the order of the rows.
        draws: Number T of draws.
        widths: Features of every layer, in the order of the columns.
    """

    path: Path
    ids: tuple[str, ...]
    draws: int
    widths: tuple[int, ...]

    @classmethod
    def open(cls, path: Path, feature: Feature) -> Features:
        """Return the features of a kind in the store at `path`, their files checked against their hashes.

        Raises:
            ArtefactError: There are none, or they are damaged.
        """
        known = counts(path / feature.name)
        if not known:
            raise ArtefactError(f"{path} holds no features of {feature.name!r}. Make them with `whence attribute`.")
        folder = _folder(path, feature, known[-1])
        made = artefacts.read_verified(folder, KIND).made
        ids = tuple(artefacts.read_table(folder / "examples.parquet")["id"])
        return cls(folder, ids, known[-1], tuple(made["compression"]["widths"]))

    def shards(self) -> Iterator[Sums]:
        """The sums of one batch of examples after the other."""
        for file in self._files:
            yield _read(file)

    @property
    def _files(self) -> list[Path]:
        return sorted(self.path.glob("*.safetensors"))

    @cached_property
    def _losses(self) -> Tensor:
        return torch.cat([artefacts.read_tensors(file)["losses"] for file in self._files])

    @cached_property
    def sums(self) -> Tensor:
        """Sums over all draws, float32 [N, p]."""
        return torch.cat([shard.sums.sum(0) for shard in self.shards()])

    def mean(self, without: int | None = None) -> Tensor:
        """φ_n, float32 [N, p]: the mean over the draws, or over those outside of one group."""
        if without is None:
            return self.sums / self.draws
        rest = torch.cat([_read_group(file, without) for file in self._files]).neg_().add_(self.sums)
        return rest.div_(int(self._outside(without).sum()))

    def loss(self, without: int | None = None) -> Tensor:
        """Mean loss of every example over the draws, float32 [N], or over those outside of one group."""
        return self._losses[:, self._outside(without)].mean(1)

    def norms(self) -> Tensor:
        """‖P g‖ of every example and draw, float32 [N, T]."""
        return torch.cat([shard.norms for shard in self.shards()])

    def _outside(self, without: int | None) -> Tensor:
        """Which draws are not in a group, bool [T]."""
        return torch.tensor([group(index) != without for index in range(self.draws)])


def counts(path: Path) -> list[int]:
    """The numbers of draws whose features are whole, in ascending order."""
    folders = artefacts.whole(path, "draws-*") if path.exists() else []
    return sorted(int(folder.name.removeprefix("draws-")) for folder in folders)


def _folder(path: Path, feature: Feature, count: int) -> Path:
    return path / feature.name / f"draws-{count:05d}"


def _file(number: int) -> str:
    return f"{number:05d}.safetensors"
