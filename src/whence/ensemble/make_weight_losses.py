"""Measuring losses by the mean of weights: one forward pass of the base for each draw, picture and set of members."""

from __future__ import annotations

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
from whence.ensemble.loss_draws import loss_draws, losses_batch, noised_rows, require_finite, root_mask
from whence.ensemble.losses import read_measured
from whence.ensemble.members import AdapterMembers
from whence.ensemble.model import Ensemble

_SETS = f"{artefacts.RESUME}/sets.safetensors"


def write_weight_losses(
    ensemble: Ensemble, part: Path, made: Mapping[str, Any], sets: Tensor, engine: Engine = DEFAULT
) -> None:
    """Measure losses of sets of members, bool [K, M], on the pictures in an unfinished folder, and write them there.

    A task is one picture and one group of draws, so interrupted work goes on from there.
    """
    artefacts.write_tensors(part / _SETS, {"sets": sets})
    sizes = torch.bincount(draw_groups(made["draws"])).tolist()
    tasks, files = [], []
    for picture, group in product(range(made["count"]), range(len(sizes))):
        file = part / artefacts.RESUME / f"{picture:05d}-{group}.safetensors"
        arguments = {
            "path": str(ensemble.path),
            "fingerprint": ensemble.manifest.fingerprint,
            "queries": str(part),
            "picture": picture,
            "group": group,
            "draws": made["draws"],
            "seed": made["seed"],
            "file": str(file),
        }
        tasks.append(Task(file.name, measure, arguments, sizes[group] * len(sets)))
        files.append(file)
    engine.run(tasks)
    losses = torch.stack([artefacts.read_tensors(file)["losses"] for file in files])
    losses = losses.reshape(made["count"], len(sizes), len(sets))
    artefacts.write_tensors(part / "losses.safetensors", {"losses": losses, "sets": sets})


def measure(
    path: str,
    fingerprint: str,
    queries: str,
    picture: int,
    group: int,
    draws: int,
    seed: int,
    file: str,
    engine: Engine,
) -> None:
    """Measure the losses of one picture at the draws of one group, and write them; a task for the engine."""
    sets = artefacts.read_tensors(Path(queries) / _SETS)["sets"]
    own = (draw_groups(draws) == group).nonzero().flatten()
    if not Path(file).exists():
        ensemble = Ensemble.open_unchanged(path, fingerprint)
        losses = set_losses(
            ensemble.reference_model,
            ensemble.open_adapters(engine=engine),
            read_measured(Path(queries)).block(range(picture, picture + 1)),
            loss_draws(ensemble.reference_model, seed),
            own,
            sets,
            losses_batch(ensemble),
            engine,
        )
        artefacts.write_tensors(Path(file), {"losses": losses})
    engine.report(len(own) * len(sets), len(own) * len(sets))


@torch.inference_mode()
def set_losses(
    model: DiffusionModel,
    members: AdapterMembers,
    query: Examples,
    draws: Draws,
    index: Tensor,
    sets: Tensor,
    batch: int,
    engine: Engine = DEFAULT,
) -> Tensor:
    """Return the mean losses of one picture over some draws, by the networks of sets of members, float64 [K].

    Args:
        model: The base.
        members: All members in memory.
        query: The picture, with its conditions.
        draws: The draws of the seed.
        index: Which of them, int64 [T].
        sets: The members of each set, bool [K, M].
        batch: Rows of a canonical batch; its rows are of any draws and sets.
        engine: Where networks run. Its report counts network evaluations of single rows.

    Raises:
        NotFiniteError: A loss is not finite.
    """
    x_t, t, target = noised_rows(model, query, draws, torch.zeros(len(index), dtype=torch.int64), index)
    losses = torch.zeros(len(index), len(sets), dtype=torch.float64)
    root = root_mask(query, torch.zeros(1, dtype=torch.int64))
    rows = torch.cartesian_prod(torch.arange(len(index)), torch.arange(len(sets)))
    for few in torch.split(rows, batch):
        k, s = few.T
        conditions = query.conditions_of(torch.zeros_like(k))
        x, at = x_t[k].to(engine.device), t[k].to(engine.device)
        outputs = members.mean_weights(sets[s], x, at, batch, conditions).cpu().double()
        losses[k, s] = model.process.loss(outputs * root, target[k] * root, t[k])
        engine.report(int(few[-1, 0]) * len(sets) + int(few[-1, 1]) + 1, len(rows))
    for row, draw in zip(losses, index.tolist(), strict=True):
        require_finite(row, query.ids[0], draw)
    return losses.mean(0)
