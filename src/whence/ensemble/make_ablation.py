"""Drawing ablations: many together, each with its placebo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts, images
from whence.config import SamplerConfig
from whence.engine import DEFAULT, Engine
from whence.ensemble.ablation import Ablation, ablation_path
from whence.ensemble.model import Ensemble
from whence.ensemble.placebos import placebo
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.seeds import derived_seed
from whence.similarity.attributors import pixel


def ablate(
    ensemble: Ensemble,
    samples: str | Sequence[str],
    units: Sequence[str],
    *,
    keep_only: bool = False,
    engine: Engine = DEFAULT,
) -> list[Ablation]:
    """Draw pictures again without some units, and a placebo beside each where the codebook has words left.

    Args:
        ensemble: A whole ensemble.
        samples: SEED/INDEX of one or more pictures that it has drawn.
        units: The units to leave out together.
        keep_only: The reverse: draw by the members that saw all of the units.
        engine: Where work runs. Its report is called with (network evaluations done, evaluations in all).

    Returns:
        One ablation for each sample. It is drawn only if it is not there yet.

    Raises:
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units.
        ArtefactError: A sample has not been drawn.
    """
    names = [samples] if isinstance(samples, str) else list(samples)
    return ablate_each(ensemble, [(name, units) for name in names], keep_only=keep_only, engine=engine)


def ablate_each(
    ensemble: Ensemble,
    requests: Sequence[tuple[str, Sequence[str]]],
    *,
    keep_only: bool = False,
    engine: Engine = DEFAULT,
) -> list[Ablation]:
    """Draw ablations as `ablate` does, with other units for each sample; all are drawn together in full batches.

    Args:
        ensemble: A whole ensemble.
        requests: (SEED/INDEX, units) of each ablation.
        keep_only: The reverse: draw by the members that saw all of the units.
        engine: Where work runs. Its report is called with (network evaluations done, evaluations in all).

    Returns:
        One ablation for each request, in that order.
    """
    plans = _plans(ensemble, requests, keep_only)
    with artefacts.lock(ensemble.path / "ablations"):
        missing = _missing(plans)
        for sampler in dict.fromkeys(plan.samples.sampler for plan in missing):
            _draw(ensemble, [plan for plan in missing if plan.samples.sampler == sampler], sampler, engine)
    engine.report(1, 1)
    return [Ablation.open(plan.path) for plan in plans]


def missing_trajectories(
    ensemble: Ensemble, requests: Sequence[tuple[str, Sequence[str]]], *, keep_only: bool = False
) -> dict[SamplerConfig, list[Trajectory]]:
    """The trajectories that `ablate_each` would draw, by sampler."""
    trajectories: dict[SamplerConfig, list[Trajectory]] = {}
    for plan in _missing(_plans(ensemble, requests, keep_only)):
        trajectories.setdefault(plan.samples.sampler, []).extend(plan.trajectories().values())
    return trajectories


def nearest_units(ensemble: Ensemble, names: Sequence[str], count: int) -> list[tuple[str, list[str]]]:
    """Return for every sample the units whose images are closest to it by pixels, one (sample, [unit]) each.

    These are the units that one would suspect by eye, not those that are influential.
    """
    opened: dict[int, Samples] = {}
    drawn = [find_sample(ensemble, name, opened) for name in names]
    pictures = torch.stack([samples.pictures[index] for samples, index in drawn])
    scores = pixel(pictures, names, ensemble.data).by_unit()
    return [(name, [unit]) for name in names for unit, _ in scores.top(name, count)]


@dataclass(frozen=True)
class AblationPlan:
    """An ablation to be drawn.

    Attributes:
        path: Its directory.
        samples: The samples that the factual picture belongs to.
        index: Its index in them.
        survivors: The members that draw the counterfactual.
        placebo: The members that draw the placebo; None if the codebook has no word left.
        inputs: Fingerprints of the ensemble and of the factual picture.
        made: All other settings that it depends on.
    """

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
    ) -> AblationPlan:
        """Return the plan of an ablation; samples are taken from `opened` or added to it."""
        units = ensemble.codebook.in_order(units)
        survivors = ensemble.codebook.survivors(units, keep_only=keep_only)
        samples, index = find_sample(ensemble, sample, opened)
        sample = samples.names[index]
        seed = derived_seed(samples.seed, f"placebo {index} {units} {keep_only}")
        others = placebo(ensemble.codebook, len(units), survivors, seed, keep_only=keep_only)
        made = {
            "sample": sample,
            "units": units,
            "keep_only": keep_only,
            "survivors": survivors,
            "placebo": others,
            "sampler": samples.sampler.record(),
        }
        # The fingerprint is of the picture, not of all samples: drawing more samples leaves this ablation valid.
        inputs = {
            "ensemble": ensemble.manifest.fingerprint,
            "factual": artefacts.digest(samples.pictures[index].numpy().tobytes()),
        }
        path = ablation_path(ensemble, sample, units, keep_only)
        return cls(path, samples, index, survivors, others, inputs, made)

    def is_drawn(self) -> bool:
        """Return whether the ablation is there."""
        return artefacts.existing(self.path, "ablation", inputs=self.inputs, made=self.made) is not None

    def trajectories(self) -> dict[str, Trajectory]:
        """What must be drawn: ``counterfactual`` and, if there is one, ``placebo``."""
        sets = {"counterfactual": self.survivors} | ({"placebo": self.placebo} if self.placebo else {})
        return {name: Trajectory(self.samples.seed, self.index, tuple(members)) for name, members in sets.items()}

    def write(self, drawn: Mapping[str, Tensor]) -> None:
        """Write the ablation with the pictures that were drawn."""
        pictures = {"factual": self.samples.pictures[self.index], **drawn}
        with artefacts.create(self.path, "ablation", inputs=self.inputs, made=self.made) as part:
            artefacts.write_tensors(part / "pictures.safetensors", pictures)
            images.write_png(part / "picture.png", _strip(pictures))


def _plans(ensemble: Ensemble, requests: Sequence[tuple[str, Sequence[str]]], keep_only: bool) -> list[AblationPlan]:
    opened: dict[int, Samples] = {}
    return [AblationPlan.make(ensemble, sample, units, keep_only, opened) for sample, units in requests]


def _missing(plans: list[AblationPlan]) -> list[AblationPlan]:
    """The ablations that are not there yet, without repeats."""
    return list({plan.path: plan for plan in plans if not plan.is_drawn()}.values())


def _draw(ensemble: Ensemble, plans: list[AblationPlan], sampler: SamplerConfig, engine: Engine) -> None:
    trajectories = [trajectory for plan in plans for trajectory in plan.trajectories().values()]
    request = [ensemble.manifest.fingerprint, sampler.record(), *map(repr, trajectories)]
    scratch = ensemble.path / "ablations" / artefacts.RESUME / artefacts.digest(request)[:12]
    pictures = iter(draw_trajectories(ensemble, trajectories, sampler, scratch, engine))
    for plan in plans:
        plan.write({name: next(pictures) for name in plan.trajectories()})
    artefacts.discard(scratch.parent)


def _strip(pictures: dict[str, Tensor]) -> np.ndarray:
    """A row of the factual picture, the counterfactual and its difference, the placebo and its difference."""
    factual = pictures["factual"]
    row = [images.to_pixels(factual)]
    for name in [name for name in ("counterfactual", "placebo") if name in pictures]:
        row += [images.to_pixels(pictures[name]), images.difference(factual, pictures[name])]
    return images.sheet(np.stack(row))
