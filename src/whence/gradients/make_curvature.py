"""Make the curvature of a model on disk, resumable: the eigenbases of its Kronecker factors, and eigenvalues in them.

CURVATURE/layers.json               names of the layers, in the order of the columns of gradients
CURVATURE/bases.safetensors         "LAYER inputs" U [I, I] and "LAYER outputs" V [O, O] of every layer, float32
CURVATURE/eigenvalues.safetensors   "k-fac" and "ek-fac" [P], float64, in the order of the columns of gradients

In the basis V ⊗ U the matrix S ⊗ A of a layer is diagonal, with the products of the eigenvalues of A and S (K-FAC). The
diagonal that fits G best in this basis is that of G itself (EK-FAC), from pseudo-gradients at draws of their own:

    Λ_oi = E (Vᵀ ∇W U)²_oi

Source: George et al. 2018, "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis" (arXiv
1806.03884).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.denoiser import on_device
from whence.diffusion.draws import order
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Task, staged
from whence.errors import MismatchError, NotFiniteError
from whence.gradients.collector import Collector
from whence.gradients.draw_sources import DrawSource
from whence.gradients.factors import FactorMap, eigenbases, eigenbasis_maps, factor_maps, pseudo_cotangent
from whence.gradients.gradient_spec import GradientSpec
from whence.seeds import derived_seed

KIND = "curvature"
#: Version of the mathematics; curvature of other versions is refused.
VERSION = 1
#: Usual number of rows.
ROWS = 8192
#: Rows of a task.
BLOCK = 1024
LAYERS, BASES, EIGENVALUES = "layers.json", "bases.safetensors", "eigenvalues.safetensors"
_PRODUCTS = f"{artefacts.RESUME}/k-fac.safetensors"


@dataclass(frozen=True)
class CurvatureJob:
    """The curvature of one model, to be made in a folder of its own.

    A row is a pair of example and draw. The rows go through all examples again and again, or through a random part of
    them where there are fewer rows than examples.

    Attributes:
        path: The folder.
        spec: The model and its layers, whose gradients are not compressed.
        examples: Where the training examples are written.
        fingerprint: Fingerprint of the examples.
        draws: Draws of each stage: "factors" and the corrected "eigenvalues".
        rows: Number of rows of each stage.
        seed: Seed of the sampled targets and of the choice of examples.
        batch: Rows of a batch.
    """

    path: Path
    spec: GradientSpec
    examples: Path
    fingerprint: str
    draws: Mapping[str, DrawSource]
    rows: int
    seed: int
    batch: int

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of what the curvature is made from."""
        return {"model": self.spec.fingerprint, "examples": self.fingerprint}

    @property
    def made(self) -> dict[str, Any]:
        """How the curvature is made, for the manifest."""
        draws = {stage: source.record() for stage, source in self.draws.items()}
        settings = {"rows": self.rows, "seed": self.seed, "batch": self.batch}
        return {"version": VERSION, **settings, "draws": draws, "compression": dict(self.spec.compression)}

    @property
    def is_made(self) -> bool:
        """Whether the curvature is there."""
        return artefacts.existing(self.path, KIND, inputs=self.inputs, made=self.made) is not None


def make_curvature(job: CurvatureJob, *, engine: Engine = DEFAULT) -> None:
    """Make the curvature unless it is there.

    The engine's report is called with (rows done, rows in all): those of both stages.

    Raises:
        MismatchError: The folder holds the curvature of something else.
        NotFiniteError: A factor is not finite; the message names its layer.
    """
    if job.is_made:
        return
    first, second = staged(engine if job.spec.can_travel else engine.here(), [job.rows, job.rows])
    with artefacts.create(job.path, KIND, inputs=job.inputs, made=job.made) as part:
        if not (part / EIGENVALUES).exists():
            _make_bases(job, part, first)
            squares = _summed(job, part, "eigenvalues", second)["squares"] / job.rows
            products = artefacts.read_tensors(part / _PRODUCTS)
            artefacts.write_tensors(part / EIGENVALUES, {**products, "ek-fac": squares})


def _make_bases(job: CurvatureJob, part: Path, engine: Engine) -> None:
    """Write the eigenbases of the factors, and the products of their eigenvalues."""
    if (part / _PRODUCTS).exists():
        return
    totals, bases, values = _summed(job, part, "factors", engine), dict[str, Tensor](), []
    names = list(job.spec.open(engine)[1].cover.layers)
    artefacts.write_json(part / LAYERS, names)
    for name in names:
        inputs, outputs, positions = (totals[f"{name} {key}"] for key in ("inputs", "outputs", "positions"))
        u, v, products = eigenbases(inputs / positions.clamp_min(1), outputs / job.rows)
        bases |= {f"{name} inputs": u.float(), f"{name} outputs": v.float()}
        values.append(products.flatten())
    artefacts.write_tensors(part / BASES, bases)
    artefacts.write_tensors(part / _PRODUCTS, {"k-fac": torch.cat(values).cpu()})


def _summed(job: CurvatureJob, part: Path, stage: str, engine: Engine) -> dict[str, Tensor]:
    """Return the sums of a stage over all rows, added up in their order."""
    blocks = [range(first, min(first + BLOCK, job.rows)) for first in range(0, job.rows, BLOCK)]
    files = [part / artefacts.RESUME / f"{stage}-{number:05d}.safetensors" for number in range(len(blocks))]
    tasks = [
        Task(f"{stage} {file}", sum_block, {"job": job, "stage": stage, "block": block, "file": file}, len(block))
        for block, file in zip(blocks, files, strict=True)
    ]
    engine.run(tasks)
    totals = {name: value.clone() for name, value in artefacts.read_tensors(files[0]).items()}
    for file in files[1:]:
        for name, value in artefacts.read_tensors(file).items():
            totals[name] += value
    for name, value in totals.items():
        if not torch.isfinite(value).all():
            raise NotFiniteError(
                f"The curvature of {name!r} is not finite: a gradient of a sampled target is not. Look at the weights "
                "of that layer, and at the images."
            )
    return totals


def sum_block(job: CurvatureJob, stage: str, block: range, file: Path, engine: Engine) -> None:
    """Sum up a stage over some rows, and write the sums into a file."""
    if not file.exists():
        examples = Examples.read(job.examples)
        if examples.fingerprint != job.fingerprint:
            raise MismatchError(f"{job.examples} changed while the curvature was made. Run the command again.")
        model, whole = job.spec.open(engine)
        rows, bases = PseudoGradients(job, model, examples, stage, block), file.parent.parent / BASES
        sums = _factors(rows, whole) if stage == "factors" else _squares(rows, whole, artefacts.read_tensors(bases))
        artefacts.write_tensors(file, sums)
    engine.report(len(block), len(block))


@dataclass(frozen=True)
class PseudoGradients:
    """The gradients of sampled targets at some rows of a stage."""

    job: CurvatureJob
    model: DiffusionModel
    examples: Examples
    stage: str
    block: range

    def features(self, collector: Collector) -> Iterator[Tensor]:
        """Yield the features of the gradients, [n, p], batch by batch; those of several shapes one after another."""
        job, source, examples, device = self.job, self.job.draws[self.stage], self.examples, self.model.device
        chosen = np.sort(order(job.seed, 0, examples.ids)[: job.rows])
        seed = derived_seed(job.seed, f"targets of {self.stage}")
        for first in range(self.block.start, self.block.stop, job.batch):
            numbers = np.arange(first, min(first + job.batch, self.block.stop))
            for group in examples.groups(chosen[numbers % len(chosen)]):
                rows, index = chosen[numbers[group] % len(chosen)], numbers[group] // len(chosen)
                ids = [examples.ids[n] for n in rows]
                x = source.x(examples, rows, index)
                t, noise = source(ids, index, x.shape[1:], device)
                conditions = on_device(source.conditions(examples.conditions_of(rows), ids, index), device)
                x_t = self.model.process.noised(x.to(device), t, noise)
                cotangent = partial(pseudo_cotangent, seed, ids, index, self.model.process.weight(t))
                yield from collector(x_t, t, [cotangent], conditions=conditions)


def _factors(rows: PseudoGradients, whole: Collector) -> dict[str, Tensor]:
    """Return the sums of the factors of every layer, with the number of positions."""
    maps = factor_maps(whole.cover, rows.model.device)
    for _ in rows.features(Collector(whole.network, whole.cover, maps, whole.autocast)):
        pass
    sums: dict[str, Tensor] = {}
    for name, (factors, _) in maps.by_layer.items():
        assert isinstance(factors, FactorMap)
        sums |= {f"{name} inputs": factors.inputs, f"{name} outputs": factors.outputs}
        sums[f"{name} positions"] = torch.tensor(float(factors.positions))
    return sums


def _squares(rows: PseudoGradients, whole: Collector, bases: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sum of squares of pseudo-gradients in the eigenbases, [P]."""
    maps = eigenbasis_maps(whole.cover, bases, rows.model.device)
    total = torch.zeros(maps.width, dtype=torch.float64)
    for features in rows.features(Collector(whole.network, whole.cover, maps, whole.autocast)):
        total += features.square().sum(0).double().cpu()
    return {"squares": total}
