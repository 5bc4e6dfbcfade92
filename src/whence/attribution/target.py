"""What is explained: a model, its checkpoints with what training drew, or all members of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from whence import artefacts
from whence.attribution.data_difference import describe_difference
from whence.attribution.queries import read_queries
from whence.config import Config, SamplerConfig, read_config
from whence.data import Dataset
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.record import Record
from whence.ensemble.model import Ensemble, member_path
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.gradients.draw_sources import RecordedDraws


@dataclass(frozen=True)
class WeightedCheckpoint:
    """A checkpoint whose scores are added to those of others, times a weight.

    Attributes:
        checkpoint: The model, and which of its parameters are differentiated.
        weight: The weight.
        source: What training drew before the checkpoint; None where that isn't used, or not known.
        trained: (id, weight in the loss) of the examples that it was trained on; None for all, with weight 1.
    """

    checkpoint: Checkpoint | LoadedCheckpoint
    weight: float = 1.0
    source: RecordedDraws | None = None
    trained: frozenset[tuple[str, float]] | None = None


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes:
        name: Its name in reports and messages.
        runs: Models whose scores are averaged: diffusers folders, recorded runs, or one model in memory.
        ensemble: The encoded ensemble whose members they are, if they are.
    """

    name: str
    runs: tuple[Path | DiffusionModel, ...]
    ensemble: Ensemble | None = None

    @classmethod
    def open(cls, source: str | Path | DiffusionModel | Ensemble) -> Target:
        """Return the target for a path, a model or an ensemble."""
        if isinstance(source, DiffusionModel):
            return cls(type(source.network).__name__, (source,))
        if not isinstance(source, Ensemble):
            path = Path(source)
            kind = artefacts.kind_of(path)
            if kind == "ensemble":
                source = Ensemble.open(path)
            elif kind in ("model", None):
                if kind == "model":
                    manifest = artefacts.read_manifest(path, "model")
                    for needed in ("model_index.json", "unet/", "scheduler/"):
                        artefacts.verify(path, manifest, needed)
                return cls(path.name, (path,))
            else:
                what = artefacts.with_article(kind)
                raise ArtefactError(f"{path} is {what}; expected a diffusers folder, a training run or an ensemble.")
        members = range(source.codebook.members)
        return cls(source.path.name, tuple(member_path(source.path, m) for m in members), source)

    @classmethod
    def mean(cls, sources: Sequence[str | Path | DiffusionModel | Ensemble]) -> Target:
        """Return the mean over several models, such as the same training from other seeds."""
        targets = [cls.open(source) for source in sources]
        if len(targets) == 1:
            return targets[0]
        sizes = {tuple(target.model.size) for target in targets}
        if len(sizes) != 1:
            raise ConfigError(f"Scores are averaged over models of pictures of one size; given {sorted(sizes)}.")
        runs = tuple(run for target in targets for run in target.runs)
        return cls(" and ".join(target.name for target in targets), runs)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the models that are averaged over; of a single model its own fingerprint."""
        models = (run if isinstance(run, DiffusionModel) else DiffusionModel.load(run) for run in self.runs)
        fingerprints = [fingerprint(model) for model in models]
        return fingerprints[0] if len(fingerprints) == 1 else artefacts.digest(fingerprints)

    @cached_property
    def model(self) -> DiffusionModel:
        """The first model, for what all models share: process and size."""
        first = self.runs[0]
        return first if isinstance(first, DiffusionModel) else DiffusionModel.load(first)

    def queries(
        self,
        source: str,
        *,
        method: Literal["ddpm", "ddim"] | None = None,
        steps: int | None = None,
        resolution: int | None = None,
        grey: bool = False,
    ) -> Examples:
        """Return the pictures that `source` names; see `read_queries`. All members of an ensemble draw together.

        `method` and `steps` of the sampler are by default those of `sampler`.
        """
        model = self.model if self.ensemble is None else self.ensemble
        sampler = Config(sampler=self.sampler).updated("sampler", method=method, steps=steps).sampler
        return read_queries(model, source, sampler=sampler, resolution=resolution, grey=grey)

    @cached_property
    def sampler(self) -> SamplerConfig:
        """How pictures are drawn.

        It is as the ensemble draws; or as the first run's settings say where they are not the defaults; else by DDIM in
        50 steps, or as many as there are timesteps, and clipped as the scheduler of the folder says.
        """
        if self.ensemble is not None:
            return self.ensemble.config.sampler
        run = self.runs[0]
        if isinstance(run, Path) and (run / "config.toml").is_file():
            sampler = read_config(run / "config.toml").sampler
            if sampler != SamplerConfig():
                return sampler
        steps = min(SamplerConfig().steps, self.model.process.timesteps)
        clip = bool(getattr(self.model.scheduler, "config", {}).get("clip_sample", False))
        return SamplerConfig(method="ddim", steps=steps, clip=clip)

    def require_data(self, data: Dataset) -> None:
        """Check that a recorded run was trained on this data, or on the same without a unit column."""
        recorded: list[tuple[str, str, Path | Ensemble]]
        if self.ensemble is not None:
            recorded = [(self.name, self.ensemble.data.fingerprint, self.ensemble)]
        else:
            runs = [run for run in self.runs if isinstance(run, Path) and artefacts.kind_of(run) == "model"]
            recorded = [(run.name, artefacts.read_manifest(run, "model").inputs["data"], run) for run in runs]
        for name, known, source in recorded:
            if known != data.fingerprint and known != data.ungrouped.fingerprint:
                raise MismatchError(
                    f"{name} was trained on data with the fingerprint {known}, given was data with "
                    f"{data.fingerprint}: {describe_difference(source, data)}. Give the data that it was trained on, "
                    "with the same options."
                )

    def checkpoints(self, over: str, ids: Sequence[str], parameters: str | None = None) -> list[WeightedCheckpoint]:
        """Return the checkpoints whose scores are added `over` a run, as `Method` says, of the examples with these ids.

        Raises:
            ArtefactError: A run kept no checkpoints, or none after a whole epoch.
            MismatchError: The record of a run is of other training examples.
        """
        checkpoints: list[WeightedCheckpoint] = []
        for run in self.runs:
            if isinstance(run, DiffusionModel):
                of_run = [WeightedCheckpoint(LoadedCheckpoint(run, parameters))]
            elif over == "model" or artefacts.kind_of(run) != "model":
                of_run = [WeightedCheckpoint(Checkpoint(run, parameters=parameters))]
            elif over == "checkpoints":
                files = _checkpoint_files(run)
                of_run = [WeightedCheckpoint(Checkpoint(run, file, parameters), 1 / len(files)) for file in files]
            else:
                of_run = _recorded_checkpoints(run, ids, parameters)
            checkpoints += [replace(checkpoint, weight=checkpoint.weight / len(self.runs)) for checkpoint in of_run]
        return checkpoints


def _checkpoint_files(run: Path) -> list[Path]:
    """Return the files of a run's checkpoints, checked against their hashes."""
    artefacts.verify(run, artefacts.read_manifest(run, "model"), "checkpoints/")
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    if not files:
        raise ArtefactError(f"{run} kept no checkpoints. Train it with training.checkpoints above 0.")
    return files


def _recorded_checkpoints(run: Path, ids: Sequence[str], parameters: str | None) -> list[WeightedCheckpoint]:
    """Return the checkpoints of a run, each with the weight η_c V_c / B and with what training drew before it.

    V_c is the number of whole epochs that ended since the checkpoint before, η_c the mean learning rate of their steps
    and B the batch size. The learning rate at the checkpoint itself would not do: a cosine ends near 0.

    Raises:
        ArtefactError: The run kept no checkpoints, or none after a whole epoch.
    """
    files, record, checkpoints, before = _checkpoint_files(run), Record(run), [], -1
    config, trained = record.training, frozenset(zip(record.ids, record.weights, strict=True))
    draws = Draws(config.seed, record.timesteps, config.shared_noise, config.antithetic)
    _require_recorded(record, draws, ids)
    for file in files:
        last = int(artefacts.read_tensors(file)["step"]) * config.batch // len(record.ids) - 1
        visits = last - before
        if visits > 0:
            steps = [epoch * len(record.ids) / config.batch for epoch in (before + 1, last + 1)]
            rate = record["learning_rate"][math.floor(steps[0]) : math.ceil(steps[1])].mean().item()
            source = RecordedDraws(draws, last, visits, config.seed, config.flip)
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
