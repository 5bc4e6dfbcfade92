"""Screening: drawing pictures with their tangents, a few together, and what follows for every unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from whence import artefacts
from whence.config import SamplerConfig
from whence.engine import Report, Task, run, silent
from whence.ensemble.differential import forward_evaluations, tangents, unclipped
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.screen import Screen, unit_changes
from whence.ensemble.suspects import expand_names
from whence.errors import ConfigError, MismatchError
from whence.scores.scores import Estimand, Scores

#: Pictures in one task: on 8x8 pictures four together take little longer than two alone.
TOGETHER = 4


def screen(
    ensemble: Ensemble, samples: str | Sequence[str], *, workers: int | None = None, report: Report = silent
) -> Scores:
    """Estimate for every unit how far its ablation would move the pictures.

    First order in the members' weights and without clipping: it says where to look, `ablate` and the landscape give
    the distances. A unit's estimate depends on its code word alone, and M members give at most M-1 independent
    numbers: units with similar code words share their scores. The tangents are kept in ``RUN/screens``.

    Args:
        ensemble: A whole ensemble.
        samples: SEED/INDEX or SEED/FIRST-LAST of Q pictures that it has drawn.
        workers: Processes; default one for each core.
        report: Called with (forward-mode evaluations done, evaluations in all).

    Returns:
        Unsigned scores [Q, U], one column for each unit: estimated Euclidean distances over pixels in [0, 1].

    Raises:
        ArtefactError: A sample has not been drawn, or another sampler or ensemble made a screen that is there.
        ConfigError: A name is not one of a sample.
    """
    wanted = requests(ensemble, samples)
    with artefacts.lock(ensemble.path / "screens"):
        run(_tasks(ensemble, missing(wanted)), workers=workers, report=report)
    report(1, 1)
    changes = unit_changes(ensemble.codebook)
    units = ensemble.codebook.units
    return Scores(
        scores=torch.stack([Screen.open(one.path).distances(changes) for one in wanted]).float(),
        queries=tuple(one.sample for one in wanted),
        examples=units,
        units=tuple((unit,) for unit in units),
        method="differential ablation",
        estimand=Estimand(
            "distance of the picture, first order in the members' weights, without clipping",
            "leave out the members that saw the unit",
            "the trained members, the same noise",
            ensemble.manifest.fingerprint,
            "unit",
        ),
        sign="unsigned",
        combine="max",
    )


@dataclass(frozen=True)
class Request:
    """A screen that is wanted: where it belongs and all that it depends on."""

    path: Path
    sample: str
    sampler: SamplerConfig
    inputs: dict[str, str]
    made: dict[str, Any]

    @property
    def name(self) -> tuple[int, int]:
        """(SEED, INDEX)."""
        seed, index = self.sample.split("/")
        return int(seed), int(index)


def requests(ensemble: Ensemble, samples: str | Sequence[str]) -> list[Request]:
    """Return what `screen` is asked for, checked, each sample once.

    Raises:
        ConfigError: No sample is given, or a name is not one.
        ArtefactError: A sample has not been drawn.
    """
    names = expand_names([samples] if isinstance(samples, str) else samples)
    if not names:
        raise ConfigError("No sample is given; a sample is named SEED/INDEX, like 0/3.")
    opened: dict[int, Samples] = {}
    found = []
    for name in names:
        drawn, index = find_sample(ensemble, name, opened)
        sample, sampler = drawn.names[index], unclipped(drawn.sampler)
        path = ensemble.path / "screens" / sample.replace("/", "-")
        made = {"sample": sample, "sampler": sampler.record()}
        found.append(Request(path, sample, sampler, {"ensemble": ensemble.manifest.fingerprint}, made))
    return found


def missing(wanted: Sequence[Request]) -> list[list[Request]]:
    """The screens that are not there yet, in the groups that are drawn together."""
    absent = [one for one in wanted if not artefacts.existing(one.path, "screen", inputs=one.inputs, made=one.made)]
    samplers = dict.fromkeys(one.sampler for one in absent)
    alike = [[one for one in absent if one.sampler == sampler] for sampler in samplers]
    return [group[k : k + TOGETHER] for group in alike for k in range(0, len(group), TOGETHER)]


def _tasks(ensemble: Ensemble, groups: Sequence[list[Request]]) -> list[Task]:
    given = {"path": str(ensemble.path), "fingerprint": ensemble.manifest.fingerprint}
    return [
        Task(f"screen {group[0].sample}", draw_group, given | {"group": group}, group_evaluations(ensemble, group))
        for group in groups
    ]


def group_evaluations(ensemble: Ensemble, group: Sequence[Request]) -> int:
    """Forward-mode evaluations that some screens of one sampler cost."""
    return len(group) * forward_evaluations(ensemble.codebook.members, group[0].sampler)


def draw_group(path: str, fingerprint: str, group: list[Request], report: Report) -> None:
    """Draw some pictures with their tangents together and write a screen for each; a task for the engine.

    Raises:
        MismatchError: The ensemble changed since it was opened.
    """
    ensemble = Ensemble.open(path)
    if ensemble.manifest.fingerprint != fingerprint:
        raise MismatchError(f"{path} changed while pictures were screened. Run the command again.")
    members = range(ensemble.codebook.members)
    networks = ensemble.networks(members)
    total = group_evaluations(ensemble, group)
    pictures, J = tangents(
        ensemble.schedule,
        [networks[m] for m in members],
        group[0].sampler,
        [one.name for one in group],
        lambda done, steps: report(done * total // steps, total),
    )
    for n, one in enumerate(group):
        with artefacts.create(one.path, "screen", inputs=one.inputs, made=one.made) as part:
            tensors = {"factual": pictures[n].float(), "tangents": J[:, n]}
            artefacts.write_tensors(part / "tangents.safetensors", tensors)
