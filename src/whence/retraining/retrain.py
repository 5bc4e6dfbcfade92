"""Training many models without some examples, and measuring them; the weights are kept only on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Task
from whence.errors import ConfigError, MismatchError
from whence.retraining import MODEL_SUFFIX
from whence.retraining.measurement import Measurement, MeasurementFormat, MeasurementPlan, measure
from whence.retraining.rule import PATIENCE, RetrainingRule


class Experiment(Protocol):
    """What the retrained models of a bank or a study have in common."""

    @property
    def manifest(self) -> Manifest:
        """What it is made of."""

    @property
    def data(self) -> Dataset:
        """All training examples."""

    @property
    def start(self) -> DiffusionModel | None:
        """The model that fine-tuning starts from; None where models are only trained from new weights."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """Folders that a training needs beside the data, by the names of the arguments of `train`.

        They are the base of adapters, or the encoders of networks of latents, and the encoding of the data.
        """

    @property
    def plan(self) -> MeasurementPlan:
        """What is measured of every model."""

    @property
    def layout(self) -> MeasurementFormat:
        """How measurements are kept."""

    @property
    def reopen(self) -> Callable[[], Experiment]:
        """Opens the experiment in another process; see `open_once`."""


@dataclass(frozen=True, eq=False)
class Retraining:
    """A model to train without some examples, and to measure.

    Attributes:
        name: Name of the folder of its measurement.
        rows: Rows of the training examples that are kept, ascending, int64.
        rule: How it is made.
        config: Settings of its training.
        inputs: Fingerprints of what the measurement is made from.
        made: How the measurement is made, for its manifest.
    """

    name: str
    rows: np.ndarray
    rule: RetrainingRule
    config: Config
    inputs: Mapping[str, Any]
    made: Mapping[str, Any]


def retrain(
    experiment: Experiment,
    folder: Path,
    retrainings: Sequence[Retraining],
    *,
    keep_models: bool = False,
    engine: Engine = DEFAULT,
) -> list[Measurement]:
    """Return the measurements of models, in order: those that are not in `folder` are trained and measured first.

    Each measurement is an artefact NAME in the folder; on request the weights are kept in NAME.model. An interrupted
    call continues. The report is called with (training steps done, steps in all), measuring not counted.

    Raises:
        ConfigError: Two models have the same name.
        MismatchError: A measurement of that name is of something else.
    """
    if len({retraining.name for retraining in retrainings}) < len(retrainings):
        raise ConfigError("Two models to retrain have the same name.")
    common = {"reopen": experiment.reopen, "folder": folder, "keep_model": keep_models}
    tasks = [
        Task(one.name, train_and_measure, common | {"retraining": one}, one.config.training.steps)
        for one in missing_retrainings(experiment, folder, retrainings)
    ]
    if tasks:
        engine.run(tasks)
    return [Measurement.read(folder / one.name, experiment.layout) for one in retrainings]


def missing_retrainings(experiment: Experiment, folder: Path, retrainings: Sequence[Retraining]) -> list[Retraining]:
    """Return the models whose measurements are not in a folder, each name once."""
    by_name = {retraining.name: retraining for retraining in retrainings}
    return [one for one in by_name.values() if not _is_measured(experiment, folder / one.name, one)]


def train_and_measure(
    reopen: Callable[[], Experiment], folder: Path, retraining: Retraining, keep_model: bool, engine: Engine
) -> None:
    """Train and measure one model, unless another process did; a task for the engine."""
    experiment, path = reopen(), folder / retraining.name
    weights = path.with_name(path.name + MODEL_SUFFIX)
    # Another writer of the same model would lose the weights that this one removes.
    with artefacts.lock(path.with_name(f"{path.name}-retraining"), PATIENCE):
        if _is_measured(experiment, path, retraining):
            return
        kept = retraining.rule.train(
            experiment.data,
            retraining.rows,
            weights,
            retraining.config,
            start=experiment.start,
            parts=experiment.parts,
            engine=engine,
        )
        measurement = measure(kept, experiment.plan, engine=engine)
        measurement.write(path, experiment.layout, retraining.inputs, retraining.made, PATIENCE)
        if not keep_model:
            artefacts.discard(weights)


def _is_measured(experiment: Experiment, path: Path, retraining: Retraining) -> bool:
    kind = experiment.layout.kind
    return artefacts.existing(path, kind, inputs=retraining.inputs, made=retraining.made) is not None


@lru_cache(maxsize=1)
def open_once(open_: Callable[..., Any], arguments: tuple[Path, ...], fingerprint: str) -> Any:
    """Return the experiment ``open_(*arguments)``; a process opens it and checks its files once, not for every model.

    Raises:
        MismatchError: Another bank or study took its place.
    """
    experiment = open_(*arguments)
    if experiment.manifest.fingerprint != fingerprint:
        kind = experiment.manifest.kind.removeprefix("credit ")
        raise MismatchError(
            f"{arguments[0]} became another {kind} while models were made for it; run the command again."
        )
    return experiment
