"""Drawing landscapes: U counterfactuals and P placebos of each picture, in full canonical batches.

At every sampling step each member evaluates all trajectories that include it. With w the weight of the code words, T
steps take U·(M - w)·T evaluations of single pictures for the units, (M - w)·P·T for the placebos and M·T for the
factual picture. Finished shards are kept, so an interrupted landscape continues. The bytes of a shard don't depend on
what was drawn beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch

from whence import artefacts, images
from whence.engine import DEFAULT, Engine, Task, cores
from whence.ensemble.codebook import placebos as placebo_sets
from whence.ensemble.drawing import Drawing
from whence.ensemble.landscape import Landscape, landscape_path, shard
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, expand_names, find_sample
from whence.ensemble.trajectories import Trajectory, drawing_task
from whence.errors import ConfigError
from whence.seeds import derived_seed
from whence.statistics.placebo_test import default_placebos

#: Pixels in a canonical batch of landscapes, for nearly the throughput of the largest batch; and its bounds.
PIXELS, SMALLEST, LARGEST = 2**14, 16, 256
#: Canonical batches of pictures in one shard, and in one task at most. A member evaluates about half of a task's.
SHARD, TASK = 4, 16


def landscape(
    ensemble: Ensemble,
    samples: str | Sequence[str],
    *,
    placebos: int | None = None,
    together: Sequence[str] = (),
    engine: Engine = DEFAULT,
) -> list[Landscape]:
    """Return the landscapes of the pictures SEED/INDEX or SEED/FIRST-LAST: all their counterfactuals, and placebos.

    What is there already is not drawn again; a landscape with fewer placebos is extended. Each unit is left out by
    itself, or the units `together`; then a placebo is as many words together. There are fewer placebos if the codebook
    has no more words. Default: as many as it takes to name one of all units, from 200 on, but 200 where that is more
    than 1,000. The report is called with (network evaluations done, evaluations in all).

    Raises:
        ArtefactError: A sample has not been drawn.
        ConfigError: The number of placebos is negative, or a name is not one of a sample.
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units that are left out together.
        MismatchError: A landscape in this place is of another picture or ensemble.
    """
    plans = plan_landscapes(ensemble, samples, placebos, together)
    missing = [plan for plan in plans if not plan.is_drawn()]
    with ExitStack() as stack:
        parts = {stack.enter_context(plan.create()): plan for plan in missing}
        engine.run(drawing_tasks(ensemble, parts, engine))
        for part, plan in parts.items():
            plan.finish(part)
    engine.report(1, 1)
    return [Landscape.open(plan.path) for plan in plans]


@dataclass(frozen=True)
class LandscapePlan:
    """A landscape to be drawn.

    Attributes:
        path: Its directory.
        trajectories: The factual picture, the units, the placebos.
        units: The units, U.
        drawing: How they are drawn.
        inputs: Fingerprints of the ensemble and of the picture.
        made: All other settings that it depends on.
    """

    path: Path
    trajectories: list[Trajectory]
    units: tuple[str, ...]
    drawing: Drawing
    inputs: dict[str, str]
    made: dict[str, Any]

    def is_drawn(self) -> bool:
        """Return whether the landscape is there, with at least as many placebos."""
        if not self.path.exists():
            return False
        placebos = int(artefacts.read_manifest(self.path, "landscape").made["placebos"])
        artefacts.existing(self.path, "landscape", inputs=self.inputs, made=self.made | {"placebos": placebos})
        return placebos >= int(self.made["placebos"])

    @contextmanager
    def create(self) -> Iterator[Path]:
        """Begin, extend or continue the landscape, and yield its directory; full shards of fewer placebos are kept."""
        facts = {
            "evaluations": self.drawing.sampler.steps * sum(len(trajectory.members) for trajectory in self.trajectories)
        }
        with artefacts.create(self.path, "landscape", inputs=self.inputs, made=self.made, facts=facts) as part:
            if self.path.exists():
                placebos = artefacts.read_manifest(self.path, "landscape").made["placebos"]
                for block in range((1 + len(self.units) + placebos) // self.made["block"]):
                    artefacts.copy_file(self.path / shard(block), part / shard(block))
            yield part

    def blocks(self, part: Path) -> list[tuple[Path, list[Trajectory]]]:
        """The files of the shards in the directory `part`, with the trajectories of each."""
        size = self.made["block"]
        starts = range(0, len(self.trajectories), size)
        return [(part / shard(k), self.trajectories[start : start + size]) for k, start in enumerate(starts)]

    def finish(self, part: Path) -> None:
        """Write the units and the distances of the pictures in the shards."""
        factual = artefacts.read_tensors(part / shard(0))["pictures"][0]
        shards = (artefacts.read_tensors(file)["pictures"] for file, _ in self.blocks(part))
        distances = torch.cat([images.distance(factual, pictures) for pictures in shards])
        middle = 1 + len(self.units)
        artefacts.write_tensors(
            part / "distances.safetensors",
            {"units": distances[1:middle].clone(), "placebos": distances[middle:].clone()},
        )
        artefacts.write_table(part / "units.parquet", {"unit": list(self.units)})


def plan_landscapes(
    ensemble: Ensemble, samples: str | Sequence[str], placebos: int | None, together: Sequence[str] = ()
) -> list[LandscapePlan]:
    """Return the landscapes that `landscape` draws with these arguments, checked."""
    if placebos is None:
        placebos = default_placebos(1 if together else len(ensemble.codebook.units))
    if placebos < 0:
        raise ConfigError(f"--placebos must be at least 0; given {placebos}.")
    names = expand_names([samples] if isinstance(samples, str) else samples)
    book, opened = ensemble.codebook, dict[int, Samples]()
    together = book.in_order(together) if together else []
    units = ("+".join(together),) if together else book.units
    survivors = [tuple(book.survivors(group)) for group in ([together] if together else [[u] for u in book.units])]
    seed = derived_seed(book.seed, "landscape placebos")
    others = placebo_sets(book, max(1, len(together)), len(survivors[0]), seed)
    # Other words together may leave the very same members as the units do.
    others = (members for members in others if members != survivors[0])
    sets = [tuple(range(book.members)), *survivors, *islice(others, placebos)]
    batch = min(LARGEST, max(SMALLEST, PIXELS // math.prod(ensemble.picture_size[1:])))
    plans = []
    for name in names:
        drawn, index = find_sample(ensemble, name, opened)
        drawing = drawn.drawing.with_sampler(batch_size=batch)
        made = {
            "sample": name,
            "together": together,
            "placebos": len(sets) - 1 - len(survivors),
            "block": SHARD * batch,
            **drawing.record(),
        }
        picture = artefacts.digest(drawn.pictures[index].numpy().tobytes())
        inputs = {"ensemble": ensemble.manifest.fingerprint, "factual": picture}
        trajectories = [Trajectory(drawn.seed, index, members) for members in sets]
        path = landscape_path(ensemble, name, together)
        plans.append(LandscapePlan(path, trajectories, units, drawing, inputs, made))
    return plans


def missing_trajectories(
    ensemble: Ensemble, samples: str | Sequence[str], placebos: int | None, together: Sequence[str] = ()
) -> dict[Drawing, list[Trajectory]]:
    """The trajectories of the landscapes that are not there yet, by drawing."""
    trajectories: dict[Drawing, list[Trajectory]] = {}
    for plan in plan_landscapes(ensemble, samples, placebos, together):
        if not plan.is_drawn():
            trajectories.setdefault(plan.drawing, []).extend(plan.trajectories)
    return trajectories


def drawing_tasks(ensemble: Ensemble, parts: Mapping[Path, LandscapePlan], engine: Engine = DEFAULT) -> list[Task]:
    """Return the tasks that draw the missing shards of landscapes; `parts` are the directories that are being filled.

    A task draws several shards, so that batches are full, but not so many that a worker has no task.
    """
    blocks = [(plan.drawing, *block) for part, plan in parts.items() for block in plan.blocks(part)]
    missing = [block for block in blocks if not block[1].exists()]
    rows = sum(len(trajectories) for _, _, trajectories in missing)
    tasks: list[Task] = []
    for drawing, group in groupby(missing, key=lambda block: block[0]):
        most = min(TASK * drawing.sampler.batch_size, -(-rows // (engine.workers or cores())))
        files: list[tuple[Path, list[Trajectory]]] = []
        for _, file, trajectories in group:
            if files and sum(len(block) for _, block in files) + len(trajectories) > most:
                tasks.append(drawing_task(ensemble, files, drawing))
                files = []
            files.append((file, trajectories))
        tasks.append(drawing_task(ensemble, files, drawing))
    return tasks
