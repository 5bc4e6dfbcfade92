"""Make the scores of methods with curvature on disk: gradients of training examples meet those of queries, and go.

INFLUENCE/00000.safetensors   scores by method, float32 [C, 1 (+ 8), Q, n] for some examples: C dampings, from all draws
                              and, with errors, without each group of draws

A block of examples is summed over its draws, scored at every damping and forgotten. So neither memory nor disk holds a
whole gradient of more examples than a block has. Interrupted, the same call continues after the last whole file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.attribution.feature_pair import FeaturePair
from whence.attribution.method import Method
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine, Report, Task, staged
from whence.errors import MismatchError
from whence.gradients.curvature import Curvature
from whence.gradients.features import Feature, Sums, add_draws
from whence.gradients.make_curvature import CurvatureJob
from whence.gradients.make_features import FeatureJob
from whence.gradients.stored_features import StoredFeatures
from whence.scores.jackknife import GROUPS

KIND = "influence"
#: Examples of a file.
SHARD = 256
#: Most numbers in the sums of a block of examples.
VALUES = 2**25


@dataclass(frozen=True)
class InfluenceJob:
    """Scores of training examples for queries by methods with curvature, at some dampings.

    Attributes:
        folder: The folder of the model, in which `path` is.
        curvature: The curvature.
        examples: Whole gradients of the training examples, which are not kept.
        queries: Whole gradients of the queries, which are there.
        dampings: The dampings of every method.
        errors: Whether there are scores without each group of draws as well.
    """

    folder: Path
    curvature: CurvatureJob
    examples: FeatureJob
    queries: FeatureJob
    dampings: Mapping[Method, tuple[float, ...]]
    errors: bool

    @property
    def path(self) -> Path:
        """The folder of the scores, whose name depends on everything that they depend on."""
        request = {"fingerprints": [self.examples.fingerprint, self.queries.fingerprint], **self.made}
        return self.folder / f"influence-{artefacts.digest(request)[:12]}"

    @property
    def is_made(self) -> bool:
        """Whether the scores are there."""
        return (
            self.path.exists() and artefacts.existing(self.path, KIND, inputs=self.inputs, made=self.made) is not None
        )

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of what the scores are made from."""
        curvature = artefacts.read_manifest(self.curvature.path, "curvature").fingerprint
        return {**self.examples.inputs, "queries": self.queries.fingerprint, "curvature": curvature}

    @property
    def made(self) -> dict[str, Any]:
        """How the scores are made, for the manifest."""
        jobs = {"examples": self.examples, "queries": self.queries}
        gradients = {name: [job.made(f, job.draws) for f in self.features] for name, job in jobs.items()}
        dampings = {method.name: list(values) for method, values in self.dampings.items()}
        return {**gradients, "curvature": self.curvature.made, "dampings": dampings, "errors": self.errors}

    @property
    def groups(self) -> tuple[int | None, ...]:
        """The groups of draws that are left out: none, and with errors each."""
        return (None, *range(GROUPS)) if self.errors else (None,)

    @property
    def features(self) -> list[Feature]:
        """The kinds of gradients that the methods need."""
        return sorted({method.feature for method in self.dampings})

    def stored(self, feature: Feature) -> StoredFeatures:
        """Return the gradients of the queries."""
        return StoredFeatures.open(self.queries.path, feature)


def make_influence(job: InfluenceJob, *, engine: Engine = DEFAULT) -> None:
    """Make the scores of a job, unless they are there.

    The engine's report is called with (rows done, rows in all), a row being a draw of an example.

    Raises:
        MismatchError: The training examples changed meanwhile.
        NotFiniteError: A gradient is not finite.
    """
    if job.is_made:
        return
    ids = Examples.read(job.examples.examples).ids
    engine = engine if job.examples.spec.can_travel else engine.here()
    with artefacts.create(job.path, KIND, inputs=job.inputs, made=job.made) as part:
        artefacts.write_table(part / "examples.parquet", {"id": list(ids)})
        _rotate_queries(job, part)
        shards = [range(first, min(first + SHARD, len(ids))) for first in range(0, len(ids), SHARD)]
        tasks = []
        for number, rows in enumerate(shards):
            arguments = {"job": job, "rows": rows, "file": artefacts.numbered_file(part, number)}
            tasks.append(Task(f"{part} {number}", make_shard, arguments, len(rows) * job.examples.draws))
        engine.run(tasks)


def _rotate_queries(job: InfluenceJob, part: Path) -> None:
    """Write the means of the queries' gradients in the eigenbasis, one file for each group that is left out."""
    curvature = Curvature.read(job.curvature.path)
    for feature in job.features:
        for group in job.groups:
            file = _rotated(part, feature, group)
            if not file.exists():
                artefacts.write_tensors(file, {"queries": curvature.rotated(job.stored(feature).mean(group))})


def _rotated(part: Path, feature: Feature, group: int | None) -> Path:
    return part / artefacts.RESUME / f"{feature.name}-{'all' if group is None else group}.safetensors"


def make_shard(job: InfluenceJob, rows: range, file: Path, engine: Engine) -> None:
    """Make the scores of some examples, and write them into a file."""
    total, gradients = len(rows) * job.examples.draws, job.examples
    if not file.exists():
        every = Examples.read(gradients.examples)
        if every.fingerprint != gradients.fingerprint:
            raise MismatchError(f"{gradients.examples} changed while scores were made. Run the command again.")
        scorer, parts = _Scorer(job, file.parent, len(every)), list[dict[str, Tensor]]()
        step = block_size(gradients.spec.size)
        blocks = [range(first, min(first + step, rows.stop)) for first in range(rows.start, rows.stop, step)]
        for block, stage in zip(blocks, staged(engine, [len(b) * gradients.draws for b in blocks]), strict=True):
            by_rows = stage.reporting(partial(_report_rows, stage.report, len(block)))
            parts.append(scorer.scores(_sums(job, every.block(block), by_rows)))
        artefacts.write_tensors(file, {name: torch.cat([part[name] for part in parts], -1) for name in parts[0]})
    engine.report(total, total)


def _report_rows(report: Report, count: int, draws: int, total: int) -> None:
    report(count * draws, count * total)


def block_size(parameters: int) -> int:
    """Return the number of examples whose whole gradients are in memory together, in groups of draws.

    Example:
        >>> block_size(200_000), block_size(10_000_000)
        (16, 1)
    """
    return 1 << max(0, (VALUES // (GROUPS * parameters)).bit_length() - 1)


def _sums(job: InfluenceJob, examples: Examples, engine: Engine) -> dict[Feature, Sums]:
    """Return the gradients of some examples, summed over groups of draws."""
    gradients = job.examples
    model, collector = gradients.spec.open(engine)
    sums = {feature: Sums.empty(len(examples), collector.maps.width) for feature in job.features}
    add_draws(model, collector, examples, gradients.source, range(gradients.draws), sums, gradients.batch, engine)
    return sums


class _Scorer:
    """Scores blocks of examples for the queries of a job. With N examples, the eigenvalues are those of N G."""

    def __init__(self, job: InfluenceJob, part: Path, count: int) -> None:
        self._job, self._part = job, part
        self._curvature = Curvature.read(job.curvature.path)
        self._eigenvalues = {name: value * count for name, value in self._curvature.eigenvalues.items()}

    def scores(self, sums: Mapping[Feature, Sums]) -> dict[str, Tensor]:
        """Return scores of a block by method, [C, 1 (+ 8), Q, n]."""
        rows: dict[str, list[Tensor]] = {method.name: [] for method in self._job.dampings}
        for group in self._job.groups:
            for method, pair in self._pairs(sums, group):
                values = [method.function(pair, damping) for damping in self._job.dampings[method]]
                rows[method.name].append(torch.stack(values).float())
        return {name: torch.stack(values, 1) for name, values in rows.items()}

    def _pairs(self, sums: Mapping[Feature, Sums], group: int | None) -> Iterator[tuple[Method, FeaturePair]]:
        """Yield each method with the means over all draws, or over those outside of a group."""
        for feature, of_block in sums.items():
            queries = artefacts.read_tensors(_rotated(self._part, feature, group))["queries"]
            examples, losses = self._curvature.rotated(of_block.mean(group)), of_block.loss(group)
            widths = self._curvature.widths
            for method in self._job.dampings:
                if method.feature == feature and method.curvature is not None:
                    eigenvalues = self._eigenvalues[method.curvature]
                    yield method, FeaturePair(examples, queries, losses, widths, eigenvalues)
