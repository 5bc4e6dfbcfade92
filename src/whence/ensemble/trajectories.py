"""Drawing many pictures together, where each picture has its own set of members.

At every sampling step a member evaluates all trajectories that include it, in full canonical batches. So a hundred
ablations take few more network evaluations than the pictures that they belong to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.config import SamplerConfig
from whence.diffusion.sampling import draw
from whence.engine import DEFAULT, Engine, Task
from whence.ensemble.model import Ensemble, MeanPrediction

#: Canonical batches per member in one task.
PART = 4


@dataclass(frozen=True)
class Trajectory:
    """A picture SEED/INDEX to draw, from the noise of its name, by some members.

    Further arguments of the networks by name are `conditions`, one row each, without a batch dimension.
    """

    seed: int
    index: int
    members: tuple[int, ...]
    conditions: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)


def draw_trajectories(
    ensemble: Ensemble,
    trajectories: Sequence[Trajectory],
    sampler: SamplerConfig,
    scratch: Path,
    engine: Engine = DEFAULT,
) -> Tensor:
    """Return pictures that are drawn together, float32 [n, C, H, W] in [-1, 1].

    Finished parts are kept in `scratch`, so interrupted work continues. The report counts network evaluations.
    """
    size = PART * sampler.batch_size
    parts = [list(trajectories[start : start + size]) for start in range(0, len(trajectories), size)]
    files = [scratch / f"{k:05d}.safetensors" for k in range(len(parts))]
    tasks = [drawing_task(ensemble, [(file, part)], sampler) for file, part in zip(files, parts, strict=True)]
    engine.run(tasks)
    return torch.cat([artefacts.read_tensors(file)["pictures"] for file in files])


def drawing_task(ensemble: Ensemble, files: Sequence[tuple[Path, list[Trajectory]]], sampler: SamplerConfig) -> Task:
    """The task that draws trajectories together and writes them to one or more files."""
    return Task(
        str(files[0][0]),
        draw_files,
        {
            "path": str(ensemble.path),
            "fingerprint": ensemble.manifest.fingerprint,
            "files": [(str(file), trajectories) for file, trajectories in files],
            "sampler": sampler,
        },
        evaluations([trajectory for _, trajectories in files for trajectory in trajectories], sampler),
    )


def part_count(pictures: int, sampler: SamplerConfig) -> int:
    """Number of tasks that draw so many pictures."""
    return -(-pictures // (PART * sampler.batch_size))


def evaluations(trajectories: Sequence[Trajectory], sampler: SamplerConfig) -> int:
    """Number of canonical batches that networks evaluate to draw these trajectories together."""
    rows = Counter(member for trajectory in trajectories for member in trajectory.members)
    return sampler.steps * sum(-(-count // sampler.batch_size) for count in rows.values())


def draw_files(
    path: str, fingerprint: str, files: list[tuple[str, list[Trajectory]]], sampler: SamplerConfig, engine: Engine
) -> None:
    """Draw together the trajectories of all files that are not there yet, and write them; a task for the engine."""
    total = evaluations([trajectory for _, trajectories in files for trajectory in trajectories], sampler)
    missing = [(file, trajectories) for file, trajectories in files if not Path(file).exists()]
    if missing:
        ensemble = Ensemble.open_unchanged(path, fingerprint)
        rows = [trajectory for _, trajectories in missing for trajectory in trajectories]
        sets = [trajectory.members for trajectory in rows]
        members = ensemble.open_members((member for row in sets for member in row), engine)
        pictures = draw(
            MeanPrediction(members, sets, sampler.batch_size, stacked_conditions(rows)),
            ensemble.reference_model,
            sampler,
            [(trajectory.seed, trajectory.index) for trajectory in rows],
            engine.reporting(lambda done, steps: engine.report(done * total // steps, total)),
        )
        sizes = [len(trajectories) for _, trajectories in missing]
        for (file, _), block in zip(missing, torch.split(pictures, sizes), strict=True):
            artefacts.write_tensors(Path(file), {"pictures": block})
    engine.report(total, total)


def stacked_conditions(trajectories: Sequence[Trajectory]) -> dict[str, Tensor]:
    """The conditions of all trajectories by name, one row for each of them; all have the same names."""
    names = trajectories[0].conditions
    return {name: torch.stack([trajectory.conditions[name] for trajectory in trajectories]) for name in names}
