"""Drawing landscapes: U counterfactuals and P placebos of each picture, in full canonical batches.

At every sampler step each member evaluates all trajectories that include it. That is U·(M - w)·T evaluations of single
pictures for the units, w the weight of their code words, (M - w)·P·T for the placebos and M·T for the factual picture.
Finished shards are kept, so an interrupted landscape continues; a shard holds the same bytes whatever was drawn
beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch

from whence import artefacts, images
from whence.config import SamplerConfig
from whence.engine import Report, Task, run, silent, workers_here
from whence.ensemble.landscape import Landscape, landscape_path, shard
from whence.ensemble.model import Ensemble
from whence.ensemble.placebos import placebos as unassigned
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.suspects import expand_names
from whence.ensemble.trajectories import Trajectory, drawing_task
from whence.errors import ConfigError
from whence.seeds import derived_seed

#: Code words without a unit that are ablated beside the units.
PLACEBOS = 200
#: Pixels in a canonical batch of landscapes, for nearly the throughput of the largest batch; and its bounds.
PIXELS, SMALLEST, LARGEST = 2**14, 16, 256
#: Canonical batches of pictures in one shard, and in one task at most. A member evaluates about half of a task's.
SHARD, TASK = 4, 16


def landscape(
    ensemble: Ensemble,
    samples: str | Sequence[str],
    *,
    placebos: int = PLACEBOS,
    together: Sequence[str] = (),
    workers: int | None = None,
    report: Report = silent,
) -> list[Landscape]:
    """Draw all counterfactuals of pictures, and placebos beside them.

    Args:
        ensemble: A whole ensemble.
        samples: SEED/INDEX or SEED/FIRST-LAST of pictures that it has drawn.
        placebos: Code words without a unit to ablate as well; fewer where the codebook has no more.
        together: Instead of each unit by itself, these together; the placebos are then as many words together.
        workers: Processes; default one for each core.
        report: Called with (network evaluations done, evaluations in all).

    Returns:
        One landscape for each picture; drawn only if it is not there yet, and extended if more placebos are asked for.

    Raises:
        ArtefactError: A sample has not been drawn.
        ConfigError: The number of placebos is negative, or a name is not one.
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units that are left out together.
        MismatchError: A landscape in this place is of another picture or ensemble.
    """
    plans = plan_landscapes(ensemble, samples, placebos, together)
    missing = [plan for plan in plans if not plan.is_there()]
    with ExitStack() as stack:
        for plan in missing:
            stack.enter_context(plan.create())
            plan.take_over()
        run(drawing_tasks(ensemble, missing, workers), workers=workers, report=report)
        for plan in missing:
            plan.finish()
    report(1, 1)
    return [Landscape.open(plan.path) for plan in plans]


@dataclass(frozen=True)
class LandscapePlan:
    """One landscape to be drawn.

    Attributes:
        path: Where it belongs.
        trajectories: The factual picture, the units, the placebos.
        units: The units, U.
        sampler: How they are drawn.
        inputs: Fingerprints of the ensemble and of the picture.
        made: Everything else that it depends on.
    """

    path: Path
    trajectories: list[Trajectory]
    units: tuple[str, ...]
    sampler: SamplerConfig
    inputs: dict[str, str]
    made: dict[str, Any]

    def is_there(self) -> bool:
        """Return whether it has been drawn, with at least as many placebos.

        Raises:
            MismatchError: Another one is in its place.
        """
        if not self.path.exists():
            return False
        there = int(artefacts.read_manifest(self.path, "landscape").made["placebos"])
        artefacts.existing(self.path, "landscape", inputs=self.inputs, made=self.made | {"placebos": there})
        return there >= int(self.made["placebos"])

    def take_over(self) -> None:
        """Begin with the full shards of the landscape that is there, if it has fewer placebos; they are the same."""
        if self.path.exists():
            there = artefacts.read_manifest(self.path, "landscape").made["placebos"]
            for block in range((1 + len(self.units) + there) // self.made["block"]):
                artefacts.write_bytes(self.part / shard(block), (self.path / shard(block)).read_bytes())

    @property
    def part(self) -> Path:
        """Where it grows."""
        return Path(f"{self.path}.part")

    def create(self) -> Any:
        """Begin or continue to write it."""
        facts = {"evaluations": self.sampler.steps * sum(len(one.members) for one in self.trajectories)}
        return artefacts.create(self.path, "landscape", inputs=self.inputs, made=self.made, facts=facts)

    def blocks(self) -> list[tuple[Path, list[Trajectory]]]:
        """The shards, and what is in each."""
        size = self.made["block"]
        starts = range(0, len(self.trajectories), size)
        return [(self.part / shard(k), self.trajectories[i : i + size]) for k, i in enumerate(starts)]

    def finish(self) -> None:
        """Write the distances of the pictures in the shards."""
        factual = artefacts.read_tensors(self.part / shard(0))["pictures"][0]
        distances = torch.cat(
            [images.distance(factual, artefacts.read_tensors(file)["pictures"]) for file, _ in self.blocks()]
        )
        middle = 1 + len(self.units)
        artefacts.write_tensors(
            self.part / "distances.safetensors",
            {"units": distances[1:middle].clone(), "placebos": distances[middle:].clone()},
        )
        artefacts.write_table(self.part / "units.parquet", {"unit": list(self.units)})


def plan_landscapes(
    ensemble: Ensemble, samples: str | Sequence[str], placebos: int, together: Sequence[str] = ()
) -> list[LandscapePlan]:
    """Return what `landscape` is asked for, checked and resolved."""
    if placebos < 0:
        raise ConfigError(f"--placebos must be at least 0; given {placebos}.")
    names = expand_names([samples] if isinstance(samples, str) else samples)
    book, opened = ensemble.codebook, dict[int, Samples]()
    together = book.in_order(together) if together else []
    units = ("+".join(together),) if together else book.units
    survivors = [tuple(book.survivors(group)) for group in ([together] if together else [[u] for u in book.units])]
    seed = derived_seed(book.seed, "landscape placebos")
    others = unassigned(book, max(1, len(together)), len(survivors[0]), seed)
    # Other words together may leave the very same members as the units do.
    beside = list(islice((one for one in others if one != survivors[0]), placebos))
    sets = [tuple(range(book.members)), *survivors, *beside]
    batch = min(LARGEST, max(SMALLEST, PIXELS // math.prod(ensemble.schedule.size[1:])))
    plans = []
    for name in names:
        found, index = find_sample(ensemble, name, opened)
        sampler = found.sampler.model_copy(update={"batch_size": batch})
        made = {
            "sample": name,
            "together": together,
            "placebos": len(beside),
            "block": SHARD * batch,
            "sampler": sampler.record(),
        }
        picture = artefacts.digest(found.pictures[index].numpy().tobytes())
        inputs = {"ensemble": ensemble.manifest.fingerprint, "factual": picture}
        trajectories = [Trajectory(found.seed, index, members) for members in sets]
        plans.append(
            LandscapePlan(landscape_path(ensemble, name, together), trajectories, units, sampler, inputs, made)
        )
    return plans


def drawing_tasks(ensemble: Ensemble, plans: Sequence[LandscapePlan], workers: int | None = None) -> list[Task]:
    """The shards that are not there yet, several in one task so that batches are full, but work for every worker."""
    missing = [(plan.sampler, *block) for plan in plans for block in plan.blocks() if not block[0].exists()]
    rows = sum(len(trajectories) for _, _, trajectories in missing)
    found: list[Task] = []
    for sampler, group in groupby(missing, key=lambda one: one[0]):
        most = min(TASK * sampler.batch_size, -(-rows // (workers or workers_here())))
        files: list[tuple[Path, list[Trajectory]]] = []
        for _, file, trajectories in group:
            if files and sum(len(inside) for _, inside in files) + len(trajectories) > most:
                found.append(drawing_task(ensemble, files, sampler))
                files = []
            files.append((file, trajectories))
        found.append(drawing_task(ensemble, files, sampler))
    return found
