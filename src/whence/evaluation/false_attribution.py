"""False attribution rate: does an attribution follow the removal of the unit that it names?

An attributor names u = a(x), its top unit for the picture x. The picture is drawn again from the same noise without u,
and the attributor names the top unit of the new picture; u stays among the candidates. Over the samples x,

    FA  = mean of [a(x without u) = u]    the attribution stayed although its unit is gone
    B   = mean of [a(x without r) = u]    the control: r is another unit, drawn at random
    FAR = FA / B

This is the rate in the demo of ablation based counterfactuals (arXiv 2406.07908). At 0 the attribution follows the
removal. At 1 removing the named unit changes the attribution no more than removing a random unit does. The rate is
undefined where B = 0.

    RUN/evaluations/removals/KEY/             the pictures; KEY stands for the ensemble, the samplers and every
                                              (sample, unit)
    RUN/evaluations/false-attribution/KEY/    the result
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.engine import DEFAULT, Engine
from whence.ensemble.drawing import Drawing
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.errors import ConfigError, DataError
from whence.evaluation.false_rate import FalseAttribution, Trial
from whence.scores.scores import Scores
from whence.seeds import derived_seed
from whence.similarity.attributors import Attributor

#: SEED/INDEX of a picture and the unit that it is drawn without.
Removal = tuple[str, str]


def false_attribution(
    ensemble: Ensemble,
    samples: Sequence[str],
    attributor: Attributor,
    *,
    controls: int = 1,
    seed: int = 0,
    engine: Engine = DEFAULT,
) -> FalseAttribution:
    """Return the rate at which an attribution stays although the unit that it names was removed, with its interval.

    The samples are SEED/INDEX of pictures that the ensemble has drawn; their order doesn't matter. The attributor maps
    pictures float32 [Q, C, H, W] in [-1, 1] and their names to scores of examples or units; `attributor_of` gives one
    for every name of `whence methods`. For each sample, `controls` random units are removed, one at a time.

    The pictures without u and without r are drawn together and kept, and so is the result: the same call again draws
    and writes nothing. The engine's report is called with (network evaluations done, evaluations in all).

    Raises:
        ConfigError: No sample is given, or there are fewer other units than controls.
        DataError: The attributor returns scores of other pictures, or names a unit that is not in the training data.
        ArtefactError: A sample has not been drawn.
    """
    design = _Design.make(ensemble, samples, attributor, controls, seed)
    pictures, manifest = design.removals.draw(engine)
    names = [f"{sample} without {unit}" for sample, unit in pictures]
    after = dict(zip(pictures, top_units(attributor(torch.stack(list(pictures.values())), names), names), strict=True))
    trials = [
        Trial(name, unit, after[name, unit], others, tuple(after[name, other] for other in others))
        for name, unit, others in zip(design.names, design.units, design.controls, strict=True)
    ]
    return FalseAttribution(design.scores.method, tuple(trials), seed).write(
        ensemble.path / "evaluations" / "false-attribution",
        {"ensemble": ensemble.manifest.fingerprint, "factual": design.factual, "removals": manifest.fingerprint},
        {"estimand": vars(design.scores.estimand), "draws": design.scores.draws, "controls": controls},
    )


def missing_trajectories(
    ensemble: Ensemble, samples: Sequence[str], attributor: Attributor, *, controls: int = 1, seed: int = 0
) -> dict[Drawing, list[Trajectory]]:
    """Return the trajectories that `false_attribution` would draw, by drawing."""
    return _Design.make(ensemble, samples, attributor, controls, seed).removals.missing()


def top_units(scores: Scores, names: Sequence[str]) -> list[str]:
    """Return the unit with the largest score for every query; ties go to the unit that comes first in the data."""
    if tuple(scores.queries) != tuple(names):
        raise DataError(
            f"The attributor {scores.method!r} was given {len(names)} pictures ({', '.join(names[:2])} ...) and "
            f"returned scores of {len(scores.queries)} ({', '.join(scores.queries[:2])} ...)."
        )
    units = scores.by_unit()
    return [units.top(name, 1)[0][0] for name in names]


def control_units(units: Sequence[str], sample: str, attributed: str, count: int, seed: int) -> tuple[str, ...]:
    """Return `count` distinct random units other than the attributed one, a function of the seed and the sample.

    Two attributors that name different units get the same controls, unless a control is a unit that one of them names.

    Raises:
        ConfigError: There are not that many other units.
    """
    others = len(set(units) - {attributed})
    if not 1 <= count <= others:
        raise ConfigError(f"--controls must be from 1 to {others}, the units other than {attributed!r}; given {count}.")
    controls: list[str] = []
    for k in range(count):
        source = random.Random(derived_seed(seed, f"control {k} of {sample}"))
        unit = attributed
        while unit in (attributed, *controls):
            unit = source.choice(units)
        controls.append(unit)
    return tuple(controls)


@dataclass(frozen=True)
class _Design:
    """The samples in order, the units that the attributor names, the controls, and the pictures to be drawn."""

    names: list[str]
    factual: str
    scores: Scores
    units: list[str]
    controls: list[tuple[str, ...]]
    removals: Removals

    @classmethod
    def make(
        cls, ensemble: Ensemble, samples: Sequence[str], attributor: Attributor, controls: int, seed: int
    ) -> _Design:
        opened: dict[int, Samples] = {}
        factual: dict[tuple[int, int], Tensor] = {}
        for name in samples:
            drawn, index = find_sample(ensemble, name, opened)
            factual[drawn.seed, index] = drawn.pictures[index]
        if not factual:
            raise ConfigError("No sample is given; name at least one picture that the ensemble has drawn.")
        names = [f"{seed}/{index}" for seed, index in sorted(factual)]
        pictures = torch.stack([factual[key] for key in sorted(factual)])
        scores = attributor(pictures, names)
        units = top_units(scores, names)
        others = [
            control_units(ensemble.codebook.units, name, unit, controls, seed)
            for name, unit in zip(names, units, strict=True)
        ]
        pairs = [
            (name, removed)
            for name, unit, control in zip(names, units, others, strict=True)
            for removed in (unit, *control)
        ]
        removals = Removals.make(ensemble, pairs, opened)
        return cls(names, artefacts.digest(pictures.numpy().tobytes()), scores, units, others, removals)


@dataclass(frozen=True)
class Removals:
    """Pictures that an ensemble draws again without one unit each, by the sampler that drew the sample."""

    ensemble: Ensemble
    trajectories: dict[Drawing, dict[Removal, Trajectory]]

    @classmethod
    def make(cls, ensemble: Ensemble, removals: Sequence[Removal], opened: dict[int, Samples]) -> Removals:
        """Return what must be drawn; `opened` holds samples by seed that were opened and checked before."""
        trajectories: dict[Drawing, dict[Removal, Trajectory]] = {}
        for name, unit in sorted(set(removals)):
            samples, index = find_sample(ensemble, name, opened)
            survivors = tuple(ensemble.codebook.survivors([unit]))
            trajectories.setdefault(samples.drawing, {})[name, unit] = Trajectory(samples.seed, index, survivors)
        return cls(ensemble, trajectories)

    def draw(self, engine: Engine) -> tuple[dict[Removal, Tensor], Manifest]:
        """Draw the pictures unless they are there; return them, float32 [C, H, W] each, and their manifest."""

        def build(part: Path) -> None:
            pictures = []
            for k, (drawing, by_removal) in enumerate(self.trajectories.items()):
                scratch, trajectories = part / artefacts.RESUME / f"sampler-{k}", list(by_removal.values())
                pictures.append(draw_trajectories(self.ensemble, trajectories, drawing, scratch, engine)["pictures"])
            artefacts.write_tensors(part / "pictures.safetensors", {"pictures": torch.cat(pictures)})

        manifest = artefacts.ensure(self._path, "removals", **self._provenance, build=build)
        engine.report(1, 1)
        pictures = artefacts.read_tensors(self._path / "pictures.safetensors")["pictures"]
        removals = [removal for by_removal in self.trajectories.values() for removal in by_removal]
        return dict(zip(removals, pictures, strict=True)), manifest

    def missing(self) -> dict[Drawing, list[Trajectory]]:
        """Return the trajectories that `draw` would draw, by drawing."""
        if artefacts.existing(self._path, "removals", **self._provenance) is not None:
            return {}
        return {drawing: list(by_removal.values()) for drawing, by_removal in self.trajectories.items()}

    @property
    def _provenance(self) -> dict[str, Any]:
        groups = [{**drawing.record(), "removals": list(removed)} for drawing, removed in self.trajectories.items()]
        return {"inputs": {"ensemble": self.ensemble.manifest.fingerprint}, "made": {"groups": groups}}

    @property
    def _path(self) -> Path:
        key = artefacts.digest(list(self._provenance.values()))[:12]
        return self.ensemble.path / "evaluations" / "removals" / key
