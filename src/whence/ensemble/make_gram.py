"""Measuring Gram matrices of the members' residuals: M forward passes for each draw and picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Task
from whence.ensemble.gram import draw_groups
from whence.ensemble.loss_draws import BATCH, loss_draws, losses_batch, noised_rows, require_finite, root_mask
from whence.ensemble.losses import read_measured
from whence.ensemble.members import Members, pairs_of
from whence.ensemble.model import Ensemble

#: Pictures in one task.
BLOCK = 16


def write_grams(ensemble: Ensemble, part: Path, made: Mapping[str, Any], engine: Engine = DEFAULT) -> None:
    """Measure the Gram matrices of the pictures in an unfinished folder of losses, and write them there."""
    files = [artefacts.numbered_file(part / artefacts.RESUME, k) for k in range(-(-made["count"] // BLOCK))]
    engine.run([_task(ensemble, part, k, file, made) for k, file in enumerate(files)])
    grams = torch.cat([artefacts.read_tensors(file)["grams"] for file in files])
    artefacts.write_tensors(part / "grams.safetensors", {"grams": grams})


def _task(ensemble: Ensemble, part: Path, block: int, file: Path, made: Mapping[str, Any]) -> Task:
    count = min(BLOCK, made["count"] - block * BLOCK)
    arguments = {
        "path": str(ensemble.path),
        "fingerprint": ensemble.manifest.fingerprint,
        "queries": str(part),
        "first": block * BLOCK,
        "draws": made["draws"],
        "seed": made["seed"],
        "file": str(file),
    }
    return Task(f"losses {block}", measure, arguments, count * made["draws"] * ensemble.codebook.members)


def measure(
    path: str, fingerprint: str, queries: str, first: int, draws: int, seed: int, file: str, engine: Engine
) -> None:
    """Measure the Gram matrices of a block of pictures and write them; a task for the engine."""
    folder = Path(queries)
    names = artefacts.read_table(folder / "queries.parquet")["id"][first : first + BLOCK]
    if not Path(file).exists():
        ensemble = Ensemble.open_unchanged(path, fingerprint)
        examples = read_measured(folder).block(range(first, first + len(names)))
        grams = gram_matrices(
            ensemble.reference_model,
            ensemble.open_members(engine=engine),
            examples,
            loss_draws(ensemble.reference_model, seed),
            draws,
            batch=losses_batch(ensemble),
            engine=engine,
        )
        artefacts.write_tensors(Path(file), {"grams": grams})
    done = len(names) * draws * artefacts.read_tensors(Path(file))["grams"].shape[-1]
    engine.report(done, done)


@torch.inference_mode()
def gram_matrices(
    model: DiffusionModel,
    members: Members,
    queries: Examples,
    draws: Draws,
    count: int,
    batch: int = BATCH,
    engine: Engine = DEFAULT,
) -> Tensor:
    """Return the mean Gram matrices of the members' residuals by picture and group of draws, float64 [Q, G, M, M].

    R[q, g, m, m'] = mean over the draws of group g of w_t ⟨r_m, r_m'⟩ / D, with the weight w_t of the loss; within a
    mask μ it is w_t ⟨μ r_m, r_m'⟩ / D. The report counts network evaluations.

    Raises:
        NotFiniteError: A residual is not finite.
    """
    numbers, groups = members.numbers, draw_groups(count)
    total = torch.zeros(len(queries), int(groups.max()) + 1, len(numbers), len(numbers), dtype=torch.float64)
    pairs = list(product(range(len(queries)), range(count)))
    for start in range(0, len(pairs), batch):
        few = pairs[start : start + batch]
        q, k = (torch.tensor(side) for side in zip(*few, *[few[0]] * (batch - len(few)), strict=True))
        x_t, t, target = noised_rows(model, queries, draws, q, k)
        outputs = _outputs(members, x_t.to(engine.device), t.to(engine.device), queries.conditions_of(q))
        weight = model.process.weight(t).sqrt().reshape(-1, *[1] * (target.dim() - 1))
        residuals = (outputs - target).double() * weight * root_mask(queries, q)
        residuals = residuals.flatten(2)[:, : len(few)].transpose(0, 1)
        grams = residuals @ residuals.transpose(1, 2) / math.prod(model.size)
        for (row, draw), gram in zip(few, grams, strict=True):
            require_finite(gram, queries.ids[row], draw)
        total.index_put_((q[: len(few)], groups[k[: len(few)]]), grams, accumulate=True)
        engine.report((start + len(few)) * len(numbers), len(pairs) * len(numbers))
    return total / torch.bincount(groups).double()[None, :, None, None]


def _outputs(members: Members, x_t: Tensor, t: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
    """The outputs of every member for every row, float32 [M, n, ...]."""
    outputs = torch.zeros(len(members.numbers), *x_t.shape)
    for m, rows, output in members.outputs(pairs_of([members.numbers] * len(x_t)), x_t, t, len(x_t), conditions):
        outputs[[members.numbers.index(member) for member in m.tolist()], rows] = output.cpu()
    return outputs
