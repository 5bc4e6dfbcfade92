"""Drawing ablations: many at once, each beside its placebo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from whence import artefacts, images
from whence.config import SamplerConfig
from whence.engine import Report, silent
from whence.ensemble.ablation import Ablation, ablation_path
from whence.ensemble.model import Ensemble
from whence.ensemble.placebos import placebo
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.seeds import derived_seed


def ablate(
    ensemble: Ensemble,
    samples: str | Sequence[str],
    units: Sequence[str],
    *,
    keep_only: bool = False,
    workers: int | None = None,
    report: Report = silent,
) -> list[Ablation]:
    """Draw pictures again without some units, and a placebo beside each where the codebook has words left.

    Args:
        ensemble: A whole ensemble.
        samples: SEED/INDEX of one or more pictures that it has drawn.
        units: The units to leave out together.
        keep_only: The reverse: only members that saw all of the units.
        workers: Processes; default one for each core.
        report: Called with (network evaluations done, evaluations in all).

    Returns:
        One ablation for each sample; drawn only if it is not there yet.

    Raises:
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units.
        ArtefactError: A sample has not been drawn.
    """
    names = [samples] if isinstance(samples, str) else list(samples)
    return ablate_each(ensemble, [(name, units) for name in names], keep_only=keep_only, workers=workers, report=report)


def ablate_each(
    ensemble: Ensemble,
    requests: Sequence[tuple[str, Sequence[str]]],
    *,
    keep_only: bool = False,
    workers: int | None = None,
    report: Report = silent,
) -> list[Ablation]:
    """Like `ablate`, with units of its own for each sample: all are drawn together in full batches.

    Args:
        ensemble: A whole ensemble.
        requests: (SEED/INDEX, units) of each ablation.
        keep_only: The reverse: only members that saw all of the units.
        workers: Processes; default one for each core.
        report: Called with (network evaluations done, evaluations in all).

    Returns:
        One ablation for each request, in that order.
    """
    plans = _plans(ensemble, requests, keep_only)
    with artefacts.lock(ensemble.path / "ablations"):
        missing = _missing(plans)
        for sampler in dict.fromkeys(plan.samples.sampler for plan in missing):
            _draw(ensemble, [plan for plan in missing if plan.samples.sampler == sampler], sampler, workers, report)
    report(1, 1)
    return [Ablation.open(plan.path) for plan in plans]


def missing_trajectories(
    ensemble: Ensemble, requests: Sequence[tuple[str, Sequence[str]]], *, keep_only: bool = False
) -> dict[SamplerConfig, list[Trajectory]]:
    """What `ablate_each` would draw, by sampler."""
    found: dict[SamplerConfig, list[Trajectory]] = {}
    for plan in _missing(_plans(ensemble, requests, keep_only)):
        found.setdefault(plan.samples.sampler, []).extend(plan.trajectories().values())
    return found


def _plans(ensemble: Ensemble, requests: Sequence[tuple[str, Sequence[str]]], keep_only: bool) -> list[_Plan]:
    opened: dict[int, Samples] = {}
    return [_Plan.make(ensemble, sample, units, keep_only, opened) for sample, units in requests]


@dataclass(frozen=True)
class _Plan:
    """One ablation to be drawn."""

    path: Path
    samples: Samples
    index: int
    survivors: list[int]
    placebo: list[int] | None
    inputs: dict[str, str]
    made: dict[str, Any]

    @classmethod
    def make(
        cls, ensemble: Ensemble, sample: str, units: Sequence[str], keep_only: bool, opened: dict[int, Samples]
    ) -> _Plan:
        units = ensemble.codebook.in_order(units)
        survivors = ensemble.codebook.survivors(units, keep_only=keep_only)
        samples, index = find_sample(ensemble, sample, opened)
        sample = samples.names[index]
        seed = derived_seed(samples.seed, f"placebo {index} {units} {keep_only}")
        beside = placebo(ensemble.codebook, len(units), survivors, seed, keep_only=keep_only)
        made = {
            "sample": sample,
            "units": units,
            "keep_only": keep_only,
            "survivors": survivors,
            "placebo": beside,
            "sampler": samples.sampler.record(),
        }
        # The picture, not the whole set: drawing more samples later leaves this ablation valid.
        inputs = {
            "ensemble": ensemble.manifest.fingerprint,
            "factual": artefacts.digest(samples.pictures[index].numpy().tobytes()),
        }
        path = ablation_path(ensemble, sample, units, keep_only)
        return cls(path, samples, index, survivors, beside, inputs, made)

    def is_there(self) -> bool:
        return artefacts.existing(self.path, "ablation", inputs=self.inputs, made=self.made) is not None

    def trajectories(self) -> dict[str, Trajectory]:
        sets = {"counterfactual": self.survivors} | ({"placebo": self.placebo} if self.placebo else {})
        return {name: Trajectory(self.samples.seed, self.index, tuple(who)) for name, who in sets.items()}

    def write(self, drawn: Mapping[str, Tensor]) -> None:
        pictures = {"factual": self.samples.pictures[self.index], **drawn}
        with artefacts.create(self.path, "ablation", inputs=self.inputs, made=self.made) as part:
            artefacts.write_tensors(part / "pictures.safetensors", pictures)
            images.write_png(part / "picture.png", _strip(pictures))


def _missing(plans: list[_Plan]) -> list[_Plan]:
    """The ablations that are not there yet, each once."""
    return list({plan.path: plan for plan in plans if not plan.is_there()}.values())


def _draw(ensemble: Ensemble, plans: list[_Plan], sampler: SamplerConfig, workers: int | None, report: Report) -> None:
    trajectories = [one for plan in plans for one in plan.trajectories().values()]
    request = [ensemble.manifest.fingerprint, sampler.record(), *map(repr, trajectories)]
    scratch = ensemble.path / "ablations" / artefacts.RESUME / artefacts.digest(request)[:12]
    pictures = iter(draw_trajectories(ensemble, trajectories, sampler, scratch, workers, report))
    for plan in plans:
        plan.write({name: next(pictures) for name in plan.trajectories()})
    artefacts.discard(scratch.parent)


def _strip(pictures: dict[str, Tensor]) -> np.ndarray:
    """Factual, counterfactual, difference, placebo, difference, in a row."""
    factual = pictures["factual"]
    row = [images.to_pixels(factual)]
    for name in [name for name in ("counterfactual", "placebo") if name in pictures]:
        row += [images.to_pixels(pictures[name]), images.difference(factual, pictures[name])]
    return images.sheet(np.stack(row))
