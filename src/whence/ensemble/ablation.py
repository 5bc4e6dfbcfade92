"""Ablation: a picture is drawn again from the same noise by the members that never saw some units.

The counterfactual picture is exact: it is, bit for bit, what the ensemble of the surviving members draws from this
noise, and none of them was trained on the units. It differs from the factual picture for two reasons: the units are
gone, and fewer members are averaged. So a placebo with as many survivors is drawn beside it.

    runs/ens/ablations/0-3/17/    picture 0/3 without unit 17
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts, images, notebook
from whence.artefacts import Artefact
from whence.engine import DEFAULT, Engine
from whence.ensemble.codebook import placebo
from whence.ensemble.drawing import Drawing
from whence.ensemble.members import ALONE
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample, units_key
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.seeds import derived_seed
from whence.similarity.attributors import pixel


@dataclass(frozen=True)
class Ablation(Artefact):
    """A picture, its counterfactual and a placebo."""

    kind = "ablation"

    @property
    def sample(self) -> str:
        """SEED/INDEX of the picture."""
        return str(self.manifest.made["sample"])

    @property
    def units(self) -> list[str]:
        """The units that are left out; with `keep_only` the units that every member saw."""
        return list(self.manifest.made["units"])

    @property
    def keep_only(self) -> bool:
        """Whether the counterfactual was drawn by the members that saw the units, instead of those that did not."""
        return bool(self.manifest.made["keep_only"])

    @property
    def survivors(self) -> list[int]:
        """The members that drew the counterfactual."""
        return list(self.manifest.made["survivors"])

    @cached_property
    def pictures(self) -> dict[str, Tensor]:
        """``factual``, ``counterfactual``, perhaps ``placebo``, and ``base`` of adapters alone; float32 [C, H, W]."""
        return artefacts.read_tensors(self.path / "pictures.safetensors")

    @property
    def drawing(self) -> Drawing:
        """How the pictures were drawn."""
        return Drawing.of(self.manifest.made)

    @property
    def distance(self) -> float:
        """Euclidean distance from the factual to the counterfactual picture, pixels in [0, 1]."""
        return images.distance(self.pictures["factual"], self.pictures["counterfactual"]).item()

    @property
    def placebo_distance(self) -> float | None:
        """Distance from the factual to the placebo picture; None if the codebook has no word left."""
        if "placebo" not in self.pictures:
            return None
        return images.distance(self.pictures["factual"], self.pictures["placebo"]).item()

    def _repr_html_(self) -> str:
        title = f"Picture {self.sample}, units {', '.join(self.units)}: distance {self.distance:.3f}"
        cells = [notebook.picture(images.to_pixels(picture), name) for name, picture in self.pictures.items()]
        return notebook.gallery(title, cells)


def ablations(ensemble: Ensemble) -> list[Ablation]:
    """All ablations that this ensemble has drawn, sorted by sample and then by units."""
    paths = artefacts.whole(ensemble.path / "ablations", "*/*")
    inputs = {path: artefacts.read_manifest(path, "ablation").inputs for path in paths}
    drawn = [Ablation.open(path) for path in paths if inputs[path]["ensemble"] == ensemble.manifest.fingerprint]
    return sorted(drawn, key=lambda ablation: ([int(part) for part in ablation.sample.split("/")], ablation.path.name))


def ablate(
    ensemble: Ensemble,
    samples: str | Sequence[str],
    units: Sequence[str],
    *,
    keep_only: bool = False,
    engine: Engine = DEFAULT,
) -> list[Ablation]:
    """Return ablations of the pictures SEED/INDEX: each is drawn again without some units, which are left out together.

    What is there already is not drawn again. Where the codebook has words left a placebo is drawn beside each. With
    `keep_only` the members that saw all of the units draw, instead of those that saw none. The report is called with
    (network evaluations done, evaluations in all).

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
    """Return ablations like those of `ablate`, of each (SEED/INDEX, units); all are drawn together in full batches."""
    plans = _plans(ensemble, requests, keep_only)
    with artefacts.lock(ensemble.path / "ablations"):
        missing = _missing(plans)
        for drawing in dict.fromkeys(plan.samples.drawing for plan in missing):
            _draw(ensemble, [plan for plan in missing if plan.samples.drawing == drawing], drawing, engine)
    engine.report(1, 1)
    return [Ablation.open(plan.path) for plan in plans]


def missing_trajectories(
    ensemble: Ensemble, requests: Sequence[tuple[str, Sequence[str]]], *, keep_only: bool = False
) -> dict[Drawing, list[Trajectory]]:
    """The trajectories that `ablate_each` would draw, by drawing."""
    trajectories: dict[Drawing, list[Trajectory]] = {}
    for plan in _missing(_plans(ensemble, requests, keep_only)):
        trajectories.setdefault(plan.samples.drawing, []).extend(plan.trajectories().values())
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
        inputs: Fingerprints of the ensemble and of the factual picture.
        made: All other settings that it depends on.
    """

    path: Path
    samples: Samples
    index: int
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
        made = {
            "sample": sample,
            "units": units,
            "keep_only": keep_only,
            "survivors": survivors,
            "placebo": placebo(ensemble.codebook, len(units), survivors, seed, keep_only=keep_only),
            **samples.drawing.record(),
        }
        if ensemble.base is not None:
            made["base"] = [ALONE]
        # The fingerprint is of the picture, not of all samples: drawing more samples leaves this ablation valid.
        factual = artefacts.digest(samples.pictures[index].numpy().tobytes())
        inputs = {"ensemble": ensemble.manifest.fingerprint, "factual": factual}
        folder = ensemble.path / "ablations" / sample.replace("/", "-")
        path = folder / (f"only-{units_key(units)}" if keep_only else units_key(units))
        return cls(path, samples, index, inputs, made)

    def is_drawn(self) -> bool:
        """Return whether the ablation is there."""
        return artefacts.existing(self.path, "ablation", inputs=self.inputs, made=self.made) is not None

    def trajectories(self) -> dict[str, Trajectory]:
        """What must be drawn: ``counterfactual``, ``placebo`` if there is one, and ``base`` if members have one."""
        made = self.made
        sets = {"counterfactual": made["survivors"], "placebo": made["placebo"], "base": made.get("base")}
        return {
            name: Trajectory(self.samples.seed, self.index, tuple(members)) for name, members in sets.items() if members
        }

    def write(self, drawn: Mapping[str, Tensor]) -> None:
        """Write the ablation with the pictures that were drawn."""
        pictures = {"factual": self.samples.pictures[self.index], **drawn}
        with artefacts.create(self.path, "ablation", inputs=self.inputs, made=self.made) as part:
            artefacts.write_tensors(part / "pictures.safetensors", pictures)
            images.write_png(part / "picture.png", _strip(pictures))


def _plans(ensemble: Ensemble, requests: Sequence[tuple[str, Sequence[str]]], keep_only: bool) -> list[AblationPlan]:
    opened = dict[int, Samples]()
    return [AblationPlan.make(ensemble, sample, units, keep_only, opened) for sample, units in requests]


def _missing(plans: list[AblationPlan]) -> list[AblationPlan]:
    """The ablations that are not there yet, without repeats."""
    return list({plan.path: plan for plan in plans if not plan.is_drawn()}.values())


def _draw(ensemble: Ensemble, plans: list[AblationPlan], drawing: Drawing, engine: Engine) -> None:
    trajectories = [trajectory for plan in plans for trajectory in plan.trajectories().values()]
    request = [ensemble.manifest.fingerprint, drawing.record(), *map(repr, trajectories)]
    scratch = ensemble.path / "ablations" / artefacts.RESUME / artefacts.digest(request)[:12]
    pictures = iter(draw_trajectories(ensemble, trajectories, drawing, scratch, engine)["pictures"])
    for plan in plans:
        plan.write({name: next(pictures) for name in plan.trajectories()})
    artefacts.discard(scratch.parent)


def _strip(pictures: dict[str, Tensor]) -> np.ndarray:
    """A row of the factual picture; the counterfactual, the placebo and the base, each with its difference."""
    row = [images.to_pixels(pictures["factual"])]
    for name in [name for name in ("counterfactual", "placebo", "base") if name in pictures]:
        row += [images.to_pixels(pictures[name]), images.difference(pictures["factual"], pictures[name])]
    return images.sheet(np.stack(row))
