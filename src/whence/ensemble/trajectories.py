"""Drawing many pictures together, where each picture has its own set of members.

At every sampling step a member evaluates all trajectories that include it, in full canonical batches. So a hundred
ablations take few more network evaluations than the pictures that they belong to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.sampling import Predict, draw, guided
from whence.engine import DEFAULT, Engine, Task
from whence.ensemble.drawing import Drawing
from whence.ensemble.members import Conditions, batch_count
from whence.ensemble.model import Ensemble, MeanPrediction, MeanWeights
from whence.images import from_pixels

#: Canonical batches per member in one task.
PART = 4


@dataclass(frozen=True)
class Trajectory:
    """A picture SEED/INDEX to draw, from the noise of its name, by some members."""

    seed: int
    index: int
    members: tuple[int, ...]

    @property
    def name(self) -> str:
        """SEED/INDEX."""
        return f"{self.seed}/{self.index}"


def draw_trajectories(
    ensemble: Ensemble,
    trajectories: Sequence[Trajectory],
    drawing: Drawing,
    scratch: Path,
    engine: Engine = DEFAULT,
) -> dict[str, Tensor]:
    """Return pictures that are drawn together, and their latents where the members draw latents.

    They are ``pictures``, float32 [n, C, H, W] in [-1, 1], and ``latents``, float32 [n, c, h, w]. Finished parts are
    kept in `scratch`, so interrupted work continues. The report counts network evaluations.
    """
    size = PART * drawing.sampler.batch_size
    parts = [list(trajectories[start : start + size]) for start in range(0, len(trajectories), size)]
    files = [artefacts.numbered_file(scratch, k) for k in range(len(parts))]
    tasks = [drawing_task(ensemble, [(file, part)], drawing) for file, part in zip(files, parts, strict=True)]
    engine.run(tasks)
    drawn = [artefacts.read_tensors(file) for file in files]
    return {name: torch.cat([tensors[name] for tensors in drawn]) for name in drawn[0]}


def drawing_task(ensemble: Ensemble, files: Sequence[tuple[Path, list[Trajectory]]], drawing: Drawing) -> Task:
    """The task that draws trajectories together and writes them to one or more files."""
    return Task(
        str(files[0][0]),
        draw_files,
        {
            "path": str(ensemble.path),
            "fingerprint": ensemble.manifest.fingerprint,
            "files": [(str(file), trajectories) for file, trajectories in files],
            "drawing": drawing,
        },
        evaluations(ensemble, [trajectory for _, trajectories in files for trajectory in trajectories], drawing),
    )


def part_count(pictures: int, drawing: Drawing) -> int:
    """Number of tasks that draw so many pictures."""
    return -(-pictures // (PART * drawing.sampler.batch_size))


def evaluations(ensemble: Ensemble, trajectories: Sequence[Trajectory], drawing: Drawing) -> int:
    """Number of canonical batches that networks evaluate to draw these trajectories together."""
    rows = Counter(member for trajectory in trajectories for member in trajectory.members)
    if drawing.combine == "weights":
        rows = Counter({0: len(trajectories)})
    batches = batch_count(rows, drawing.sampler.batch_size, on_one_base=ensemble.base is not None)
    guided_twice = drawing.prompts is not None and drawing.prompts.scale != 1
    return drawing.sampler.steps * batches * (2 if guided_twice else 1)


def draw_files(
    path: str, fingerprint: str, files: list[tuple[str, list[Trajectory]]], drawing: Drawing, engine: Engine
) -> None:
    """Draw together the trajectories of all files that are not there yet, and write them; a task for the engine."""
    ensemble = Ensemble.open_unchanged(path, fingerprint)
    total = evaluations(ensemble, [trajectory for _, trajectories in files for trajectory in trajectories], drawing)
    missing = [(file, trajectories) for file, trajectories in files if not Path(file).exists()]
    if missing:
        rows = [trajectory for _, trajectories in missing for trajectory in trajectories]
        drawn = draw_together(
            ensemble,
            rows,
            drawing,
            engine.reporting(lambda done, steps: engine.report(done * total // steps, total)),
        )
        sizes = [len(trajectories) for _, trajectories in missing]
        blocks = {name: torch.split(tensor, sizes) for name, tensor in drawn.items()}
        for k, (file, _) in enumerate(missing):
            artefacts.write_tensors(Path(file), {name: split[k] for name, split in blocks.items()})
    engine.report(total, total)


def draw_together(
    ensemble: Ensemble, rows: Sequence[Trajectory], drawing: Drawing, engine: Engine = DEFAULT
) -> dict[str, Tensor]:
    """Return the pictures of trajectories, and their latents where there are any; in this process."""
    model, names = ensemble.reference_model, [trajectory.name for trajectory in rows]
    conditions, guidance = ensemble.encoders.prompted(drawing.prompts, names)
    predict = _predictor(ensemble, [trajectory.members for trajectory in rows], drawing, engine)
    x = draw(
        guided(predict, conditions, guidance),
        model,
        drawing.sampler,
        [(trajectory.seed, trajectory.index) for trajectory in rows],
        engine,
    )
    if ensemble.encoders.draws_pixels:
        return {"pictures": x}
    return {"pictures": from_pixels(torch.from_numpy(model.codec.decode(x))), "latents": x}


def _predictor(
    ensemble: Ensemble, sets: Sequence[tuple[int, ...]], drawing: Drawing, engine: Engine
) -> Callable[[Conditions], Predict]:
    """What makes the combined prediction of the members of each row, from conditions."""
    batch_size = drawing.sampler.batch_size
    if drawing.combine == "weights":
        return partial(MeanWeights, ensemble.open_adapters(engine=engine), sets, batch_size)
    members = ensemble.open_members((member for row in sets for member in row), engine)
    return partial(MeanPrediction, members, sets, batch_size)
