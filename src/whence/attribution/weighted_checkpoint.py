"""Checkpoints of a recorded run, with the weights of their scores and what training drew before them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.draws import Draws
from whence.diffusion.encoding import Encoders
from whence.diffusion.record import Record
from whence.errors import ArtefactError, MismatchError
from whence.gradients.draw_sources import RecordedDraws


@dataclass(frozen=True)
class WeightedCheckpoint:
    """A checkpoint whose scores are added to those of others, times a weight.

    Attributes:
        checkpoint: The model, and which of its parameters are differentiated.
        weight: The weight.
        source: What training drew before the checkpoint; None where that isn't used, or not known.
        trained: (id, weight in the loss) of the examples that it was trained on; None for all, with weight 1.
        run: The directory of the recorded run; None where there is none.
    """

    checkpoint: Checkpoint | LoadedCheckpoint
    weight: float = 1.0
    source: RecordedDraws | None = None
    trained: frozenset[tuple[str, float]] | None = None
    run: Path | None = field(default=None, compare=False)


def checkpoint_files(run: Path) -> list[Path]:
    """Return the files of a run's checkpoints, checked against their hashes."""
    artefacts.verify(run, artefacts.read_manifest(run, "model"), "checkpoints/")
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    if not files:
        raise ArtefactError(f"{run} kept no checkpoints. Train it with training.checkpoints above 0.")
    return files


def run_checkpoints(
    run: Path, over: str, ids: Sequence[str], parameters: str | None, encoders: Encoders
) -> list[WeightedCheckpoint]:
    """Return the checkpoints of a run: all of them with the same weight, or `recorded_checkpoints` over the record."""
    if over == "record":
        return recorded_checkpoints(run, ids, parameters, encoders)
    files = checkpoint_files(run)
    return [WeightedCheckpoint(Checkpoint(run, file, parameters), 1 / len(files)) for file in files]


def adapter_checkpoints(
    run: AdapterRun, over: str, ids: Sequence[str], parameters: str | None
) -> list[WeightedCheckpoint]:
    """Return the final model of a run of an adapter, or its checkpoints; all are on the base."""
    if over == "model":
        return [WeightedCheckpoint(run.checkpoint(parameters=parameters))]
    on_base = []
    for own in run_checkpoints(run.folder, over, ids, parameters, run.encoders):
        assert isinstance(own.checkpoint, Checkpoint)
        on_base.append(replace(own, checkpoint=run.checkpoint(own.checkpoint.weights, parameters)))
    return on_base


def recorded_checkpoints(
    run: Path, ids: Sequence[str], parameters: str | None, encoders: Encoders
) -> list[WeightedCheckpoint]:
    """Return the checkpoints of a run, each with the weight η_c V_c / B and with what training drew before it.

    V_c is the number of whole epochs that ended since the checkpoint before, η_c the mean learning rate of their steps
    and B the batch size. The learning rate at the checkpoint itself would not do: a cosine ends near 0. The conditions
    of recorded draws are those that training gave, with the captions that it dropped.

    Raises:
        ArtefactError: The run kept no checkpoints, or none after a whole epoch.
    """
    files, record, checkpoints, before = checkpoint_files(run), Record(run), [], -1
    config, trained = record.training, frozenset(zip(record.ids, record.weights, strict=True))
    draws = record.draws
    captions = CaptionDropout.of(config, encoders)
    _require_recorded(record, draws, ids)
    for file in files:
        last = int(artefacts.read_tensors(file)["step"]) * config.batch // len(record.ids) - 1
        visits = last - before
        if visits > 0:
            steps = [epoch * len(record.ids) / config.batch for epoch in (before + 1, last + 1)]
            rate = record["learning_rate"][math.floor(steps[0]) : math.ceil(steps[1])].mean().item()
            source = RecordedDraws(draws, last, visits, Augmentation.of(config), captions)
            weight = rate * visits / config.batch
            checkpoints.append(WeightedCheckpoint(Checkpoint(run, file, parameters), weight, source, trained))
        before = max(before, last)
    if not checkpoints:
        raise ArtefactError(f"{run} has no checkpoint after a whole epoch, so no visit of every example is known.")
    return checkpoints


def _require_recorded(record: Record, draws: Draws, ids: Sequence[str]) -> None:
    """Check that the draws of the last step are those in the record."""
    step = len(record) - 1
    t, _ = draws(record.batch(step), record["visits"][step].numpy(), (1,))
    if not np.array_equal(t.numpy(), record["timesteps"][step].numpy()) or not set(record.ids) <= set(ids):
        raise MismatchError(f"The record in {record.path} is not of its seed and these training examples.")
