"""Drawing many pictures together, each by members of its own choice.

At every sampling step a member evaluates all trajectories that include it, in full canonical batches, so a hundred
ablations cost little more network evaluations than the pictures they belong to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.config import SamplerConfig
from whence.diffusion.sampling import draw
from whence.engine import Report, Task, run, silent
from whence.ensemble.mean import MeanPrediction
from whence.ensemble.model import Ensemble
from whence.errors import MismatchError

#: Canonical batches per member in one task.
PART = 4


@dataclass(frozen=True)
class Trajectory:
    """One picture to draw: its name SEED/INDEX, which gives the noise, and the members that draw it."""

    seed: int
    index: int
    members: tuple[int, ...]


def draw_trajectories(
    ensemble: Ensemble,
    trajectories: Sequence[Trajectory],
    sampler: SamplerConfig,
    scratch: Path,
    workers: int | None = None,
    report: Report = silent,
) -> Tensor:
    """Draw pictures by any members each, together: a member evaluates all that include it in full batches.

    Args:
        ensemble: A whole ensemble.
        trajectories: What to draw, n pictures.
        sampler: Method, steps and canonical batch.
        scratch: A directory for finished parts, from which interrupted work continues.
        workers: Processes; default one for each core.
        report: Called with (network evaluations done, evaluations in all).

    Returns:
        Pictures float32 [n, C, H, W] in [-1, 1].
    """
    size = PART * sampler.batch_size
    parts = [list(trajectories[i : i + size]) for i in range(0, len(trajectories), size)]
    files = [scratch / f"{k:05d}.safetensors" for k in range(len(parts))]
    tasks = [drawing_task(ensemble, [one], sampler) for one in zip(files, parts, strict=True)]
    run(tasks, workers=workers, report=report)
    return torch.cat([artefacts.read_tensors(file)["pictures"] for file in files])


def drawing_task(ensemble: Ensemble, files: Sequence[tuple[Path, list[Trajectory]]], sampler: SamplerConfig) -> Task:
    """The work of drawing trajectories together and writing them to one or more files."""
    return Task(
        str(files[0][0]),
        draw_files,
        {
            "path": str(ensemble.path),
            "fingerprint": ensemble.manifest.fingerprint,
            "files": [(str(file), trajectories) for file, trajectories in files],
            "sampler": sampler,
        },
        evaluations([one for _, trajectories in files for one in trajectories], sampler),
    )


def part_count(pictures: int, sampler: SamplerConfig) -> int:
    """Tasks into which the drawing of so many pictures is divided."""
    return -(-pictures // (PART * sampler.batch_size))


def evaluations(trajectories: Sequence[Trajectory], sampler: SamplerConfig) -> int:
    """Canonical batches that networks evaluate in order to draw these trajectories together."""
    rows = Counter(member for one in trajectories for member in one.members)
    return sampler.steps * sum(-(-count // sampler.batch_size) for count in rows.values())


def draw_files(
    path: str, fingerprint: str, files: list[tuple[str, list[Trajectory]]], sampler: SamplerConfig, report: Report
) -> None:
    """Draw the trajectories of all files that are not there yet, together, and write them; a task for the engine.

    Raises:
        MismatchError: The ensemble changed since it was opened.
    """
    total = evaluations([one for _, trajectories in files for one in trajectories], sampler)
    missing = [(file, trajectories) for file, trajectories in files if not Path(file).exists()]
    if missing:
        ensemble = Ensemble.open(path)
        if ensemble.manifest.fingerprint != fingerprint:
            raise MismatchError(f"{path} changed while pictures were drawn. Run the command again.")
        rows = [one for _, trajectories in missing for one in trajectories]
        sets = [one.members for one in rows]
        predict = MeanPrediction(ensemble.networks(m for one in sets for m in one), sets, sampler.batch_size)
        pictures = draw(
            predict,
            ensemble.schedule,
            sampler,
            [(one.seed, one.index) for one in rows],
            lambda done, steps: report(done * total // steps, total),
        )
        sizes = [len(trajectories) for _, trajectories in missing]
        for (file, _), block in zip(missing, torch.split(pictures, sizes), strict=True):
            artefacts.write_tensors(Path(file), {"pictures": block})
    report(total, total)
