"""The screen: an estimate of the ablation of every unit from a single forward-mode drawing of the picture.

ΔX(u) = Σ_m Δw_m(u) J_m,   score(u) = ‖ΔX(u)‖₂ over pixels in [0, 1]      (see `whence.ensemble.tangents`)

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
from whence.artefacts import Artefact
from whence.config import SamplerConfig
from whence.data.own_units import OwnUnits
from whence.diffusion.sampling import parse_name
from whence.engine import DEFAULT, Engine, Task
from whence.ensemble.codebook import Codebook
from whence.ensemble.members import NetworkMembers
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, expand_names, find_sample
from whence.ensemble.tangents import forward_evaluations, tangents, unclipped, weight_change
from whence.errors import ConfigError
from whence.scores.scores import Estimand, Scores

#: Pictures in one task: on 8x8 pictures four together take little longer than two alone.
TOGETHER = 4


@dataclass(frozen=True)
class Screen(Artefact):
    """A picture and its tangents."""

    kind = "screen"

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """``factual`` float32 [C, H, W], not clipped to [-1, 1], and ``tangents`` J float64 [M, C, H, W]."""
        return artefacts.read_tensors(self.path / "tangents.safetensors")

    def distances(self, changes: Tensor) -> Tensor:
        """Return the estimated distances ‖Σ_m Δw_m J_m‖₂ over pixels in [0, 1] for changes Δw [K, M]; float64 [K].

        With Jᵀ = QR, [C·H·W, M], the norm is that of R Δw. So thousands of changes need no pictures.
        """
        triangle = torch.linalg.qr(self.tensors["tangents"].flatten(1).T, mode="r").R
        norm: Tensor = torch.linalg.vector_norm(changes @ triangle.T, dim=1)
        return norm / 2


def unit_changes(codebook: Codebook) -> Tensor:
    """Return the change of the members' weights by the ablation of each unit, float64 [U, M]."""
    return torch.stack([weight_change(codebook.members, np.flatnonzero(~word).tolist()) for word in codebook.bits.T])


def screen(ensemble: Ensemble, samples: str | Sequence[str], *, engine: Engine = DEFAULT) -> Scores:
    """Return an estimate for every unit of how far its ablation would move the pictures SEED/INDEX or SEED/FIRST-LAST.

    The unsigned scores [Q, U] are Euclidean distances over pixels in [0, 1], of first order in the members' weights and
    without clipping. They say which units are worth an exact ablation; `ablate` and the landscape give the distances.
    The estimate of a unit depends on its code word alone, and M members give at most M-1 independent numbers: units
    with similar code words share their scores. The tangents are kept in ``RUN/screens``. The report is called with
    (forward-mode evaluations done, evaluations in all).

    Raises:
        ArtefactError: A sample has not been drawn, or a screen in this place is of another sampler or ensemble.
        ConfigError: A name is not one of a sample.
    """
    requests = screen_requests(ensemble, samples)
    with artefacts.lock(ensemble.path / "screens"):
        engine.run(_tasks(ensemble, missing_groups(requests)))
    engine.report(1, 1)
    changes = unit_changes(ensemble.codebook)
    units = ensemble.codebook.units
    return Scores(
        scores=torch.stack([Screen.open(request.path).distances(changes) for request in requests]).float(),
        queries=tuple(request.sample for request in requests),
        examples=units,
        units=OwnUnits(units),
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
class ScreenRequest:
    """The checked input of `screen` for one picture.

    Attributes:
        path: Directory of the screen.
        sample: SEED/INDEX.
        sampler: How the picture is drawn; it does not clip.
        inputs: Fingerprint of the ensemble.
        made: All other settings that it depends on.
    """

    path: Path
    sample: str
    sampler: SamplerConfig
    inputs: dict[str, str]
    made: dict[str, Any]


def screen_requests(ensemble: Ensemble, samples: str | Sequence[str]) -> list[ScreenRequest]:
    """Return a request for each sample, without repeats.

    Raises:
        ConfigError: No sample is given, or the members draw latents.
    """
    if not ensemble.encoders.draws_pixels:
        raise ConfigError(
            "A screen estimates distances of pixels, and these members draw latents. Draw the landscape: it is exact."
        )
    names = expand_names([samples] if isinstance(samples, str) else samples)
    if not names:
        raise ConfigError("No sample is given; a sample is named SEED/INDEX, like 0/3.")
    opened: dict[int, Samples] = {}
    requests = []
    for name in names:
        drawn, index = find_sample(ensemble, name, opened)
        sample, sampler = drawn.names[index], unclipped(drawn.drawing.sampler)
        path = ensemble.path / "screens" / sample.replace("/", "-")
        made = {"sample": sample, "sampler": sampler.record()}
        requests.append(ScreenRequest(path, sample, sampler, {"ensemble": ensemble.manifest.fingerprint}, made))
    return requests


def missing_groups(requests: Sequence[ScreenRequest]) -> list[list[ScreenRequest]]:
    """Return the requests whose screens are not there yet, in the groups that are drawn together."""
    missing = [
        request
        for request in requests
        if not artefacts.existing(request.path, "screen", inputs=request.inputs, made=request.made)
    ]
    samplers = dict.fromkeys(request.sampler for request in missing)
    by_sampler = [[request for request in missing if request.sampler == sampler] for sampler in samplers]
    return [group[start : start + TOGETHER] for group in by_sampler for start in range(0, len(group), TOGETHER)]


def group_evaluations(ensemble: Ensemble, group: Sequence[ScreenRequest]) -> int:
    """Number of forward-mode evaluations that the screens of a group take."""
    return len(group) * forward_evaluations(ensemble.codebook.members, group[0].sampler)


def _tasks(ensemble: Ensemble, groups: Sequence[list[ScreenRequest]]) -> list[Task]:
    arguments = {"path": str(ensemble.path), "fingerprint": ensemble.manifest.fingerprint}
    return [
        Task(f"screen {group[0].sample}", draw_group, arguments | {"group": group}, group_evaluations(ensemble, group))
        for group in groups
    ]


def draw_group(path: str, fingerprint: str, group: list[ScreenRequest], engine: Engine) -> None:
    """Draw pictures with their tangents together and write a screen for each; a task for the engine."""
    ensemble = Ensemble.open_unchanged(path, fingerprint)
    total = group_evaluations(ensemble, group)
    members = ensemble.open_members(engine=engine)
    assert isinstance(members, NetworkMembers)
    pictures, J = tangents(
        ensemble.reference_model,
        members,
        group[0].sampler,
        [parse_name(request.sample) for request in group],
        engine.reporting(lambda done, steps: engine.report(done * total // steps, total)),
    )
    for n, request in enumerate(group):
        with artefacts.create(request.path, "screen", inputs=request.inputs, made=request.made) as part:
            tensors = {"factual": pictures[n].float(), "tangents": J[:, n]}
            artefacts.write_tensors(part / "tangents.safetensors", tensors)
