"""Make features on disk: resumable, and extensible by more draws.

More draws go on from the sums that are there and give, bit for bit, what all draws at once give. Examples are sorted by
id and a file holds the examples of one canonical batch, so the last bits don't depend on the order of the examples, on
how the files are shared among processes, or on interruptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.diffusion.example_files import TABLE
from whence.diffusion.examples import KIND as EXAMPLE_KIND
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine, Task, staged
from whence.errors import ConfigError, MismatchError
from whence.gradients.draw_sources import DrawSource
from whence.gradients.features import Feature, Sums, add_draws
from whence.gradients.gradient_spec import GradientSpec
from whence.gradients.stored_features import (
    KIND,
    Precision,
    draw_counts,
    features_path,
    read_sums,
    write_sums,
)
from whence.scores.jackknife import GROUPS

#: Passes that run together. Each keeps a file open as a lock, and a system allows few of these.
AT_ONCE = 64


@dataclass(frozen=True)
class FeatureJob:
    """Features of one set of examples by one model, to be made in a folder of their own.

    Attributes:
        path: The folder.
        spec: The model, its layers and how their gradients are compressed.
        examples: Where the examples are written.
        fingerprint: Fingerprint of the examples.
        source: Gives timesteps and noise.
        draws: Number of draws.
        kinds: Kinds of features; those that lack the same draws are made in one pass.
        batch: Rows of a batch.
        precision: How the sums are kept on disk.
        kept: Whether there will be files, instead of scores alone.
    """

    path: Path
    spec: GradientSpec
    examples: Path
    fingerprint: str
    source: DrawSource
    draws: int
    kinds: tuple[Feature, ...]
    batch: int
    precision: Precision = "float32"
    kept: bool = True

    @cached_property
    def count(self) -> int:
        """Number of examples, which must be written."""
        return artefacts.count_rows(self.examples / TABLE)

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of what the features are made from."""
        return {"model": self.spec.fingerprint, "examples": self.fingerprint}

    def made(self, feature: Feature, draws: int) -> dict[str, Any]:
        """How the features of a kind are made, for the manifest."""
        return {
            "feature": feature.name,
            "count": draws,
            "draws": self.source.record(),
            "compression": dict(self.spec.compression),
            "batch": self.batch,
            "precision": self.precision,
        }

    def missing(self) -> dict[int, list[Feature]]:
        """The kinds of features that are missing, by the number of draws that are there, which must fit the job."""
        if self.draws < GROUPS:
            raise ConfigError(
                f"At least {GROUPS} draws are needed, one for each group of the standard errors; given {self.draws}."
            )
        missing: dict[int, list[Feature]] = {}
        for feature in sorted(set(self.kinds)):
            counts = draw_counts(self.path / feature.name)[-1:]
            for count in counts:
                path = features_path(self.path, feature, count)
                artefacts.existing(path, KIND, inputs=self.inputs, made=self.made(feature, count))
                self._require_extensible(count)
            if counts != [self.draws]:
                missing.setdefault(counts[0] if counts else 0, []).append(feature)
        return missing

    def shorten(self) -> None:
        """Remove the features that are there if they have more draws than this job."""
        if any(draw_counts(path)[-1:] > [self.draws] for path in self.path.glob("*")):
            artefacts.discard(self.path)

    def _require_extensible(self, count: int) -> None:
        if count > self.draws:
            raise ConfigError(f"{self.path} holds {count} draws already; ask for as many at least. Given {self.draws}.")
        if count < self.draws and self.precision != "float32":
            raise ConfigError(
                f"{self.path} holds {count} draws in half precision, which can't be extended to {self.draws} without "
                "rounding twice. Use another folder, or float32."
            )


def missing_rows(jobs: Sequence[FeatureJob]) -> int:
    """Return how many rows some jobs still have to make, a row being a draw of an example."""
    return sum(_rows(job, before) for job in jobs for before in job.missing())


def _rows(job: FeatureJob, before: int) -> int:
    """Return the rows of a pass over the examples of a job, after the draws that are there."""
    return job.count * (job.draws - before)


def make_features(jobs: Sequence[FeatureJob], *, engine: Engine = DEFAULT) -> None:
    """Make the features of some jobs, or add the missing draws to those that are there.

    The engine's report is called with (rows done, rows in all), a row being a draw of an example.

    Raises:
        MismatchError: Features there were made from something else.
        ConfigError: There are more draws already, fewer than one for each group are asked for, or features can't be
            extended.
    """
    passes = [(job, before, kinds) for job in jobs for before, kinds in job.missing().items()]
    groups = [passes[first : first + AT_ONCE] for first in range(0, len(passes), AT_ONCE)]
    sizes = [sum(_rows(job, before) for job, before, _ in group) for group in groups]
    processes = engine if all(job.spec.can_travel for job in jobs) else engine.here()
    for group, stage in zip(groups, staged(processes, sizes), strict=True):
        with ExitStack() as stack:
            stage.run([task for job, before, kinds in group for task in _tasks(stack, job, before, kinds)])
        for job, before, kinds in group:
            for feature in kinds if before else ():
                artefacts.discard(features_path(job.path, feature, before))


def _tasks(stack: ExitStack, job: FeatureJob, before: int, kinds: Sequence[Feature]) -> list[Task]:
    """The tasks that fill the artefacts of some kinds of features in one pass; the stack closes the artefacts."""
    parts: dict[Feature, Path] = {}
    for feature in kinds:
        path, made = features_path(job.path, feature, job.draws), job.made(feature, job.draws)
        parts[feature] = stack.enter_context(artefacts.create(path, KIND, inputs=job.inputs, made=made))
        artefacts.copy_file(job.examples / TABLE, parts[feature] / TABLE)
    arguments: dict[str, Any] = {"job": job, "before": before, "parts": parts}
    shards = range(-(-job.count // job.batch))
    rows = [min(job.batch, job.count - number * job.batch) * (job.draws - before) for number in shards]
    return [
        Task(f"features {job.path} {before} {number}", make_shard, {**arguments, "number": number}, rows[number])
        for number in shards
    ]


def make_shard(job: FeatureJob, number: int, before: int, parts: Mapping[Feature, Path], engine: Engine) -> None:
    """Make the features of one batch of examples, after the draws that are there, and write them into `parts`."""
    files = {feature: artefacts.numbered_file(part, number) for feature, part in parts.items()}
    rows = range(number * job.batch, min((number + 1) * job.batch, job.count))
    draws = range(before, job.draws)
    total = len(rows) * len(draws)
    if not all(file.exists() for file in files.values()):
        if artefacts.read_manifest(job.examples, EXAMPLE_KIND).inputs["examples"] != job.fingerprint:
            raise MismatchError(f"{job.examples} changed while features were made. Run the command again.")
        examples = Examples.read_files(job.examples, rows)
        model, collector = job.spec.open(engine)
        sums = {
            feature: read_sums(artefacts.numbered_file(features_path(job.path, feature, before), number))
            if before
            else Sums.empty(len(rows), collector.maps.width)
            for feature in parts
        }
        by_rows = engine.reporting(lambda done, _: engine.report(len(rows) * done, total))
        add_draws(model, collector, examples, job.source, draws, sums, job.batch, by_rows)
        for feature, file in files.items():
            write_sums(file, sums[feature], job.precision)
    engine.report(total, total)
