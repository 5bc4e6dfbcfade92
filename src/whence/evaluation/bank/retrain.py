"""Retraining one model without some examples, and measuring it: a task for the engine.

What is kept of a model is its measurement and the fingerprint of its weights; the weights themselves only on request.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts
from whence.config import Config
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.training import train
from whence.engine import Report, Task, run, silent
from whence.errors import ConfigError
from whence.evaluation.bank.bank import MODEL_SUFFIX, Bank
from whence.evaluation.bank.measure import draw_again, measure_losses

#: Kind of the artefact of a measured model.
KIND = "retrained"
#: Seconds to wait for a worker of an interrupted run to notice that it is alone, and end.
PATIENCE = 60.0


@dataclass(frozen=True)
class Retraining:
    """A model to train again without some examples.

    Attributes:
        name: Where it is kept; unique in its folder.
        kept: Rows of the training examples that it sees, ascending.
        seed: Training seed.
        weighted: The run on all examples, with weight 0 for those that aren't kept: same order, draws and steps. Else
            the data are the kept examples alone, for as many epochs as the whole (so for fewer steps).
    """

    name: str
    kept: tuple[int, ...]
    seed: int
    weighted: bool = False

    def settings(self, bank: Bank) -> Config:
        """The settings of its training: those of the bank's models, with as many visits of every example."""
        config = bank.config.updated("training", seed=self.seed, checkpoints=0)
        return config if self.weighted else shortened(config, len(self.kept), len(bank.examples))

    def request(self, bank: Bank) -> dict[str, Mapping[str, Any]]:
        """What its measurement is of."""
        kept = artefacts.digest(np.array(self.kept, np.int64).tobytes())
        made = {
            "kept": kept,
            "examples": len(self.kept),
            "weighted": self.weighted,
            "config": self.settings(bank).record(),
            "draws": bank.draws_per_query,
        }
        return {"inputs": {"bank": bank.manifest.fingerprint}, "made": made}

    def train(self, bank: Bank, path: Path, report: Report) -> None:
        """Train it, or go on with it."""
        data, config = bank.data, self.settings(bank)
        if self.weighted:
            gone = np.setdiff1d(np.arange(len(data)), self.kept)
            weights = {data.ids[n]: 0.0 for n in gone} or None
            train(data, path, config, weights=weights, report=report, patience=PATIENCE)
        else:
            train(data.select(self.kept), path, config, report=report, patience=PATIENCE)


def shortened(config: Config, kept: int, examples: int) -> Config:
    """Return the settings of a training on `kept` of so many examples, with as many visits of each.

    Example:
        >>> shortened(Config(), 250, 500).training.steps
        500
    """
    steps = max(1, round(config.training.steps * kept / examples))
    return config.updated("training", steps=steps, warmup=min(config.training.warmup, steps // 2))


@dataclass(frozen=True)
class Measurement:
    """What was measured of a retrained model.

    Attributes:
        losses: Mean loss of every query, float64 [Q].
        pictures: The drawn queries drawn again, uint8 [G, C, H, W].
        weights: Fingerprint of the weights.
    """

    losses: np.ndarray
    pictures: np.ndarray
    weights: str

    @classmethod
    def read(cls, path: Path) -> Measurement:
        """Return a measurement, checked by hash.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        manifest = artefacts.read_verified(path, KIND)
        tensors = artefacts.read_tensors(path / "measured.safetensors")
        return cls(tensors["losses"].numpy(), tensors["pictures"].numpy(), str(manifest.facts["weights"]))


def retrain(
    bank: Bank,
    folder: Path,
    wanted: Sequence[Retraining],
    *,
    keep_models: bool = False,
    workers: int | None = None,
    report: Report = silent,
) -> list[Measurement]:
    """Train and measure models, or read what is there already; killed, it continues.

    Args:
        bank: The bank whose settings, data and queries they share.
        folder: Where the measurements are kept, one artefact NAME for each.
        wanted: What to train.
        keep_models: Keep the weights, in NAME.model.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all), measuring not counted.

    Returns:
        The measurements, in order.

    Raises:
        ConfigError: Two are of one name.
        MismatchError: A measurement of that name is of something else.
    """
    if len({one.name for one in wanted}) < len(wanted):
        raise ConfigError("Two models to retrain have the same name.")
    missing = [one for one in wanted if artefacts.existing(folder / one.name, KIND, **one.request(bank)) is None]
    tasks = [
        Task(
            one.name,
            retrain_one,
            {"root": str(bank.path), "folder": str(folder), "one": one, "keep_model": keep_models},
            one.settings(bank).training.steps,
        )
        for one in missing
    ]
    if tasks:
        run(tasks, workers=workers, report=report)
    return [Measurement.read(folder / one.name) for one in wanted]


def retrain_one(root: str, folder: str, one: Retraining, keep_model: bool, report: Report) -> None:
    """Train and measure one model; a task for the engine."""
    bank, place = Bank.open(Path(root)), Path(folder) / one.name
    if artefacts.existing(place, KIND, **one.request(bank)) is not None:
        return
    weights = place.with_name(one.name + MODEL_SUFFIX)
    one.train(bank, weights, report)
    model, facts = DiffusionModel.load(weights), dict[str, Any]()
    measured = measure(bank, model)
    facts["weights"] = measured.weights
    with artefacts.create(place, KIND, **one.request(bank), facts=facts, patience=PATIENCE) as part:
        tensors = {"losses": torch.from_numpy(measured.losses), "pictures": torch.from_numpy(measured.pictures)}
        artefacts.write_tensors(part / "measured.safetensors", tensors)
    if not keep_model:
        shutil.rmtree(weights, ignore_errors=True)


def measure(bank: Bank, model: DiffusionModel) -> Measurement:
    """Return the losses of the bank's queries under a model, and its pictures from the same noise."""
    losses = measure_losses(model, bank.queries_data, bank.draws, bank.draws_per_query)
    names = [name for name, drawn in zip(bank.queries, bank.drawn, strict=True) if drawn]
    return Measurement(losses, draw_again(model, bank.config.sampler, names), fingerprint(model))
