"""What is explained: a model, its checkpoints with what training drew, or all members of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.attribution.queries import SAMPLE, Queries, read_queries, sample_request
from whence.data import Dataset
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.record import Record
from whence.ensemble.model import Ensemble, member_path
from whence.ensemble.queries import read_queries as read_ensemble_queries
from whence.ensemble.sampling import sample
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.gradients.sources import Recorded


@dataclass(frozen=True)
class Part:
    """One set of weights whose scores are added, times its weight.

    Attributes:
        where: The model.
        weight: What its scores are multiplied by.
        source: What training drew before it; None where that isn't asked for, or not known.
        trained: (id, weight in the loss) of the examples that it was trained on; None for all, with weight 1.
    """

    where: Checkpoint | DiffusionModel
    weight: float = 1.0
    source: Recorded | None = None
    trained: frozenset[tuple[str, float]] | None = None


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes:
        name: What it is called.
        runs: Models that are averaged over: diffusers folders, recorded runs, or one model in memory.
        ensemble: The encoded ensemble whose members they are, if they are.
    """

    name: str
    runs: tuple[Path | DiffusionModel, ...]
    ensemble: Ensemble | None = None

    @classmethod
    def open(cls, source: str | Path | DiffusionModel | Ensemble) -> Target:
        """Return what a path, a model or an ensemble stands for.

        Raises:
            ArtefactError: There is no model at the path, or it is unfinished or damaged.
        """
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
                raise ArtefactError(f"{path} is a {kind}; expected a diffusers folder, a training run or an ensemble.")
        members = range(source.codebook.members)
        return cls(source.path.name, tuple(member_path(source.path, m) for m in members), source)

    @classmethod
    def mean(cls, sources: Sequence[str | Path | DiffusionModel | Ensemble]) -> Target:
        """Return the mean over several models, such as the same training from other seeds.

        Raises:
            ConfigError: There are none, or they denoise examples of different sizes.
        """
        targets = [cls.open(source) for source in sources]
        if len(targets) == 1:
            return targets[0]
        sizes = {tuple(target.model.size) for target in targets}
        if len(sizes) != 1:
            raise ConfigError(f"Scores are averaged over models of pictures of one size; given {sorted(sizes)}.")
        return cls(" and ".join(target.name for target in targets), tuple(run for one in targets for run in one.runs))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the models that are averaged over; of the model itself if it is one."""
        found = [fingerprint(run if isinstance(run, DiffusionModel) else DiffusionModel.load(run)) for run in self.runs]
        return found[0] if len(found) == 1 else artefacts.digest(found)

    @cached_property
    def model(self) -> DiffusionModel:
        """A model, for what all of them share: schedule, prediction type and size."""
        first = self.runs[0]
        return first if isinstance(first, DiffusionModel) else DiffusionModel.load(first)

    def queries(self, source: str, *, resolution: int | None = None, grey: bool = False) -> Queries:
        """Return the pictures that `source` stands for; see `read_queries`. An ensemble draws by all its members."""
        if self.ensemble is None:
            return read_queries(self.model, source, resolution=resolution, grey=grey)
        if source.startswith(SAMPLE):
            seed, count = sample_request(source)
            samples = sample(self.ensemble, count=count, seed=seed)
            return Queries(tuple(samples.names), samples.pictures, samples.sampler, drawn=False)
        names, pictures = read_ensemble_queries(self.ensemble, source)
        return Queries(tuple(names), pictures, None, drawn=False)

    def require_data(self, data: Dataset) -> None:
        """Check that a recorded run was trained on this data, or on the same without a unit column.

        Raises:
            MismatchError: It was trained on other data.
        """
        if self.ensemble is not None:
            stated = {self.name: self.ensemble.data.fingerprint}
        else:
            recorded = [run for run in self.runs if isinstance(run, Path) and artefacts.kind_of(run) == "model"]
            stated = {run.name: artefacts.read_manifest(run, "model").inputs["data"] for run in recorded}
        for name, known in stated.items():
            if known != data.fingerprint and known != data.ungrouped.fingerprint:
                raise MismatchError(
                    f"{name} was trained on data with the fingerprint {known}, given was data with "
                    f"{data.fingerprint}. Give the data that it was trained on, with the same options."
                )

    def parts(self, over: str, ids: Sequence[str]) -> list[Part]:
        """Return the weights whose scores are added.

        Args:
            over: See `Method`.
            ids: Ids of the training examples.
        """
        found: list[Part] = []
        for run in self.runs:
            recorded = isinstance(run, Path) and artefacts.kind_of(run) == "model"
            if over == "model" or not recorded:
                found.append(Part(Checkpoint(run) if isinstance(run, Path) else run, 1 / len(self.runs)))
            elif isinstance(run, Path):
                found += [
                    replace(part, weight=part.weight / len(self.runs))
                    for part in _checkpoints(run, over == "record", ids)
                ]
        return found


def _checkpoints(run: Path, recorded: bool, ids: Sequence[str]) -> list[Part]:
    """Return the checkpoints of a run: their mean, or each times η_c V_c / B with what training drew.

    V_c is how many whole epochs ended since the checkpoint before, η_c the mean learning rate of their steps and B the
    batch size. The learning rate at the checkpoint itself would not do: a cosine ends near 0.

    Raises:
        ArtefactError: The run kept no checkpoints.
    """
    artefacts.verify(run, artefacts.read_manifest(run, "model"), "checkpoints/")
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    if not files:
        raise ArtefactError(f"{run} kept no checkpoints. Train it with training.checkpoints above 0.")
    if not recorded:
        return [Part(Checkpoint(run, file), 1 / len(files)) for file in files]
    record, parts, before = Record(run), [], -1
    config, trained = record.training, frozenset(zip(record.ids, record.weights, strict=True))
    draws = Draws(config.seed, record.timesteps, config.shared_noise, config.antithetic)
    _require_recorded(record, draws, ids)
    for file in files:
        tensors = artefacts.read_tensors(file)
        last = int(tensors["step"]) * config.batch_size // len(record.ids) - 1
        visits = last - before
        if visits > 0:
            steps = [epoch * len(record.ids) / config.batch_size for epoch in (before + 1, last + 1)]
            rate = record["learning_rate"][math.floor(steps[0]) : math.ceil(steps[1])].mean().item()
            source = Recorded(draws, last, visits, config.seed, config.flip)
            parts.append(Part(Checkpoint(run, file), rate * visits / config.batch_size, source, trained))
        before = max(before, last)
    if not parts:
        raise ArtefactError(f"{run} has no checkpoint after a whole epoch, so no visit of every example is known.")
    return parts


def _require_recorded(record: Record, draws: Draws, ids: Sequence[str]) -> None:
    """Check that the draws are those that the record states, on its last step.

    Raises:
        MismatchError: They are not.
    """
    step = len(record) - 1
    t, _ = draws(record.batch(step), record["visits"][step].numpy(), (1,))
    if not np.array_equal(t.numpy(), record["timesteps"][step].numpy()) or not set(record.ids) <= set(ids):
        raise MismatchError(f"The record in {record.path} is not of its seed and these training examples.")
