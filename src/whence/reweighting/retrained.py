"""Models of other seeds, trained with weights of examples and without, and what is measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.config import Config
from whence.credit.behaviours import Behaviour, Context
from whence.data import read
from whence.diffusion.adapter_run import load_run
from whence.diffusion.training import train
from whence.engine import Engine, Task
from whence.retraining import MODEL_SUFFIX
from whence.retraining.measurement import LOOK, Measurement, MeasurementPlan, Part, measure
from whence.retraining.rule import PATIENCE
from whence.reweighting.groups import GroupedPictures

#: Folders beside a reweighting: the data, the pictures to check by, the weights, the run with them, measurements.
DATA, PICTURES, WEIGHTS, RUN, CHECKS = "data", "pictures", "weights", "run", "checks"
#: The file of the weights: columns id and weight.
WEIGHTS_FILE = "weights.parquet"


@dataclass(frozen=True, eq=False)
class RetrainedModels:
    """Models that are trained in a folder, on its data with its weights or without, and measured on its pictures.

    Attributes:
        folder: The folder.
        config: Settings of the run whose training is repeated.
        parts: Folders that a training needs beside the data, by the arguments of `train`.
        draws: Draws at which the loss of a picture is measured.
        seeds: Number of other seeds, K.
    """

    folder: Path
    config: Config
    parts: Mapping[str, Any]
    draws: int
    seeds: int

    def tasks(self) -> list[Task]:
        """The run with the weights, and each pair of models of another seed: those that are not there yet."""
        steps, shared = self.config.training.steps, {"models": self}
        pairs = [(seed, weighted) for seed in range(1, self.seeds + 1) for weighted in (False, True)]
        tasks = [Task("the run with the weights", train_weighted, shared, steps)]
        tasks += [
            Task(_name(seed, weighted), train_and_measure, shared | {"seed": seed, "weighted": weighted}, steps)
            for seed, weighted in pairs
        ]
        return tasks

    def train(self, path: Path, config: Config, weighted: bool, engine: Engine) -> None:
        """Train a model in a directory; an interrupted training goes on."""
        data, weights = read(self.folder / DATA), None
        if weighted:
            table = artefacts.read_table(self.folder / WEIGHTS / WEIGHTS_FILE)
            weights = dict(zip(table["id"], table["weight"], strict=True))
        train(data, path, config, weights=weights, engine=engine, patience=PATIENCE, **self.parts)

    def measured(self, pictures: GroupedPictures, behaviour: Behaviour) -> tuple[np.ndarray, np.ndarray]:
        """Return the v of every group under the models without the weights and with them, float64 [K, G] each."""
        plain, weighted = (
            np.stack([self._values(pictures, behaviour, _name(seed, kind)) for seed in range(1, self.seeds + 1)])
            for kind in (False, True)
        )
        return plain, weighted

    def plan(self, pictures: GroupedPictures) -> MeasurementPlan:
        """What is measured of every model: the losses of the pictures."""
        return MeasurementPlan((), pictures.pictures, None, np.zeros(0, bool), self.config.sampler, self.draws)

    def _values(self, pictures: GroupedPictures, behaviour: Behaviour, name: str) -> np.ndarray:
        """The v of every group under a model that was measured, [G]."""
        measurement, data = Measurement.read(self.folder / CHECKS / name, LOOK), read(self.folder / DATA)
        values, plan = [], self.plan(pictures)
        for rows in pictures.rows.values():
            own = replace(plan, held_out=pictures.pictures.select(rows))
            of_group = behaviour.prepare(Context(data, own, np.zeros((0, *data.size), np.uint8)))
            values.append(of_group(replace(measurement, held_out=measurement.held_out[rows]))[0])
        return np.array(values)


def train_weighted(models: RetrainedModels, engine: Engine) -> None:
    """Train the run again with the weights, and keep it; a task for the engine."""
    models.train(models.folder / RUN, models.config, True, engine)


def train_and_measure(models: RetrainedModels, seed: int, weighted: bool, engine: Engine) -> None:
    """Train and measure a model of another seed, unless it is there; a task for the engine."""
    path = models.folder / CHECKS / _name(seed, weighted)
    config = models.config.updated("training", seed=models.config.training.seed + seed, checkpoints=0)
    pictures = GroupedPictures(read(models.folder / PICTURES), {})
    inputs = {"data": artefacts.read_manifest(models.folder / DATA, "dataset").fingerprint}
    inputs |= {"pictures": pictures.pictures.fingerprint}
    if weighted:
        inputs["weights"] = artefacts.read_manifest(models.folder / WEIGHTS, "weights").fingerprint
    made = {"config": config.record(), "draws": models.draws}
    if artefacts.existing(path, LOOK.kind, inputs=inputs, made=made) is not None:
        return
    run = path.with_name(path.name + MODEL_SUFFIX)
    models.train(run, config, weighted, engine)
    model = load_run(run, models.parts.get("base"))
    parts: tuple[Part, ...] = ("held_out",)
    measure(model, models.plan(pictures), parts, engine).write(path, LOOK, inputs, made, PATIENCE)
    artefacts.discard(run)


def _name(seed: int, weighted: bool) -> str:
    return f"seed-{seed}-{'weighted' if weighted else 'plain'}"
