"""The screen: an estimate of every unit's ablation from one forward-mode drawing of the picture.

    ΔX(u) = Σ_m Δw_m(u) J_m,   score(u) = ‖ΔX(u)‖₂ over pixels in [0, 1]      (see `differential`)

    runs/ens/screens/0-3/    picture 0/3 and its tangents J, from which any change of weights is estimated
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.attribution import Estimand, Scores
from whence.config import SamplerConfig
from whence.engine import Report, Task, run, silent
from whence.ensemble.codebook import Codebook
from whence.ensemble.differential import evaluations, tangents, unclipped, weight_change
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample
from whence.errors import MismatchError

#: Pictures in one task: on 8x8 pictures four together take little longer than two alone.
TOGETHER = 4


@dataclass(frozen=True)
class Screen:
    """A picture and its tangents.

    Attributes:
        path: Their directory.
        manifest: Sample and sampler, which does not clip.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Screen:
        """Return a screen, checking every file by hash.

        Raises:
            ArtefactError: It is missing, unfinished or damaged.
        """
        return cls(path, artefacts.read_verified(path, "screen"))

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """``factual`` float32 [C, H, W], not clipped to [-1, 1], and ``tangents`` J float64 [M, C, H, W]."""
        return artefacts.read_tensors(self.path / "tangents.safetensors")

    def distances(self, changes: Tensor) -> Tensor:
        """Estimated distances from the factual picture, ‖Σ_m Δw_m J_m‖₂ over pixels in [0, 1].

        With Jᵀ = QR, [C·H·W, M], the norm is that of R Δw, so thousands of changes cost no pictures.

        Args:
            changes: Changes Δw of the weights, float64 [K, M]; `weight_change` gives those of an ablation or placebo.

        Returns:
            Float64 [K].
        """
        triangle = torch.linalg.qr(self.tensors["tangents"].flatten(1).T, mode="r").R
        norm: Tensor = torch.linalg.vector_norm(changes @ triangle.T, dim=1)
        return norm / 2


def screen(
    ensemble: Ensemble, samples: Sequence[str], *, workers: int | None = None, report: Report = silent
) -> Scores:
    """Estimate for every unit how far its ablation would move the pictures.

    First order in the members' weights and without clipping: it says where to look, `ablate` and the landscape give
    the distances. A unit's estimate depends on its code word alone, and M members give at most M-1 independent
    numbers: units with similar code words share their scores. The tangents are kept in ``RUN/screens``.

    Args:
        ensemble: A whole ensemble.
        samples: SEED/INDEX of Q pictures that it has drawn.
        workers: Processes; default one for each core.
        report: Called with (forward-mode evaluations done, evaluations in all).

    Returns:
        Unsigned scores [Q, U], one column for each unit: estimated Euclidean distances over pixels in [0, 1].

    Raises:
        ArtefactError: A sample has not been drawn, or another sampler or ensemble made a screen that is there.
        ConfigError: A sample's name is not SEED/INDEX.
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


def unit_changes(codebook: Codebook) -> Tensor:
    """Change of the members' weights by the ablation of each unit, float64 [U, M]."""
    return torch.stack([weight_change(codebook.members, np.flatnonzero(~word).tolist()) for word in codebook.bits.T])


@dataclass(frozen=True)
class Request:
    """A screen that is wanted: where it belongs and all that it depends on."""

    path: Path
    sample: str
    sampler: SamplerConfig
    inputs: dict[str, str]
    made: dict[str, Any]


def requests(ensemble: Ensemble, samples: Sequence[str]) -> list[Request]:
    """What `screen` is asked for, checked, each sample once."""
    opened: dict[int, Samples] = {}
    found: dict[str, Request] = {}
    for name in samples:
        drawn, index = find_sample(ensemble, name, opened)
        sample, sampler = drawn.names[index], unclipped(drawn.sampler)
        path = ensemble.path / "screens" / sample.replace("/", "-")
        made = {"sample": sample, "sampler": sampler.record()}
        found[sample] = Request(path, sample, sampler, {"ensemble": ensemble.manifest.fingerprint}, made)
    return list(found.values())


def missing(wanted: Sequence[Request]) -> list[list[Request]]:
    """The screens that are not there yet, in the groups that are drawn together."""
    absent = [one for one in wanted if not artefacts.existing(one.path, "screen", inputs=one.inputs, made=one.made)]
    samplers = dict.fromkeys(one.sampler for one in absent)
    alike = [[one for one in absent if one.sampler == sampler] for sampler in samplers]
    return [group[k : k + TOGETHER] for group in alike for k in range(0, len(group), TOGETHER)]


def _tasks(ensemble: Ensemble, groups: Sequence[list[Request]]) -> list[Task]:
    given = {"path": str(ensemble.path), "fingerprint": ensemble.manifest.fingerprint}
    cost = ensemble.codebook.members
    return [
        Task(
            f"screen {group[0].sample}",
            draw_group,
            given | {"group": group},
            len(group) * evaluations(cost, group[0].sampler),
        )
        for group in groups
    ]


def draw_group(path: str, fingerprint: str, group: list[Request], report: Report) -> None:
    """Draw some pictures with their tangents together and write a screen for each; a task for the engine.

    Raises:
        MismatchError: The ensemble changed since it was opened.
    """
    ensemble = Ensemble.open(path)
    if ensemble.manifest.fingerprint != fingerprint:
        raise MismatchError(f"{path} changed while pictures were screened. Run the command again.")
    members = range(ensemble.codebook.members)
    networks, sampler = ensemble.networks(members), group[0].sampler
    names = [(int(seed), int(index)) for seed, index in (one.sample.split("/") for one in group)]
    each = len(group) * evaluations(len(members), sampler) // sampler.steps
    pictures, J = tangents(
        ensemble.schedule,
        [networks[m] for m in members],
        sampler,
        names,
        lambda done, steps: report(done * each, steps * each),
    )
    for n, one in enumerate(group):
        with artefacts.create(one.path, "screen", inputs=one.inputs, made=one.made) as part:
            tensors = {"factual": pictures[n].float(), "tangents": J[:, n]}
            artefacts.write_tensors(part / "tangents.safetensors", tensors)
