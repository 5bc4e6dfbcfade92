"""What is explained: a model, its checkpoints with what training drew, or all members of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.attribution.data_difference import describe_difference, missing_options
from whence.attribution.model_folder import open_folder, recorded_run, run_folder
from whence.attribution.queries import read_queries
from whence.attribution.target_options import adapted, named, stated
from whence.attribution.weighted_checkpoint import WeightedCheckpoint, adapter_checkpoints, run_checkpoints
from whence.config import Config, SamplerConfig, SamplerMethod, read_config
from whence.data import Dataset
from whence.diffusion.adapter_run import AdapterRun, is_adapter_run
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import default_sampler
from whence.diffusion.shipped_base import base_folder
from whence.ensemble.model import Ensemble, member_path
from whence.errors import ConfigError, MismatchError
from whence.process_config import OPEN, ProcessConfig


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes:
        name: Its name in reports and messages.
        runs: Models whose scores are averaged: diffusers folders, recorded runs, runs of adapters with their bases, or
            one model in memory.
        ensemble: The encoded ensemble whose members they are, if they are.
        adapters: Adapters on top of each of them.
        resolution: Height and width of the pictures of a model of latents; None for those of its configuration.
        settings: What folders don't say of the process that their models were trained on.
        classes: A file that names the labels of a model of classes; None for the names in its folder.
    """

    name: str
    runs: tuple[Path | DiffusionModel | AdapterRun, ...]
    ensemble: Ensemble | None = None
    adapters: tuple[Adapter, ...] = ()
    resolution: int | None = None
    settings: ProcessConfig = OPEN
    classes: Path | None = None

    @classmethod
    def open(
        cls,
        source: str | Path | DiffusionModel | Ensemble,
        adapters: Sequence[Adapter] = (),
        base: str | Path | None = None,
        settings: ProcessConfig | None = None,
        classes: Path | None = None,
    ) -> Target:
        """Return the target for a path or the name of a base with adapters, a model or an ensemble.

        `base` is where the base of a run of an adapter is, if it isn't where it was at its training.

        Raises:
            ArtefactError: The path is no model, or the base is not there.
            MismatchError: The base is another one than the adapter of a run was trained on.
            ConfigError: There are adapters, or a file of classes, on an ensemble, on a run of an adapter or on a model
                in memory; or there is a base, and no run of an adapter; or settings of the process, and no folder of
                another trainer.
        """
        if settings is not None:
            return stated(cls.open(source, adapters, base, classes=classes), settings)
        if classes is not None:
            return named(cls.open(source, adapters, base), classes)
        if adapters:
            return adapted(cls.open(source, base=base), adapters)
        if isinstance(source, str):
            source = base_folder(source)
        if not isinstance(source, DiffusionModel | Ensemble) and is_adapter_run(Path(source)):
            run = AdapterRun.open(Path(source), base)
            return cls(run.folder.name, (run,), resolution=run.settings.resolution)
        if base is not None:
            raise ConfigError(f"There is a base, {base}, but {source} is no run of an adapter. Leave --base out.")
        if isinstance(source, DiffusionModel):
            return cls(type(source.network).__name__, (source,))
        opened = source if isinstance(source, Ensemble) else open_folder(Path(source))
        if isinstance(opened, Path):
            return cls(opened.name, (opened,))
        folders = [member_path(opened.path, m) for m in range(opened.codebook.members)]
        if opened.base is None:
            return cls(opened.path.name, tuple(folders), opened)
        runs = tuple(AdapterRun(folder, opened.base.folder) for folder in folders)
        return cls(opened.path.name, runs, opened, resolution=opened.base.resolution)

    @classmethod
    def mean(
        cls,
        sources: Sequence[str | Path | DiffusionModel | Ensemble],
        adapters: Sequence[Adapter] = (),
        resolution: int | None = None,
        base: str | Path | None = None,
        settings: ProcessConfig | None = None,
        classes: Path | None = None,
    ) -> Target:
        """Return the mean over several models, such as the same training from other seeds, with adapters on each."""
        targets = [cls.open(source, adapters, base, settings, classes)._sized(resolution) for source in sources]
        if len(targets) == 1:
            return targets[0]
        sizes = {tuple(target.model.size) for target in targets}
        if len(sizes) != 1:
            raise ConfigError(f"Scores are averaged over models of pictures of one size; given {sorted(sizes)}.")
        runs = tuple(run for target in targets for run in target.runs)
        name = " and ".join(target.name for target in targets)
        return cls(name, runs, None, tuple(adapters), resolution, settings or OPEN, classes)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the models that are averaged over; of a single model its own fingerprint."""
        fingerprints = [fingerprint(self.model), *(fingerprint(self._load(run)) for run in self.runs[1:])]
        return fingerprints[0] if len(fingerprints) == 1 else artefacts.digest(fingerprints)

    @cached_property
    def encoders(self) -> Encoders:
        """The codec and the text encoder, without a network."""
        run = self.runs[0]
        return run.encoders if isinstance(run, AdapterRun) else Encoders.of(run, self.adapters, self.classes)

    @cached_property
    def model(self) -> DiffusionModel:
        """The first model, for what all models share: process and size."""
        return self._load(self.runs[0])

    def _load(self, run: Path | DiffusionModel | AdapterRun) -> DiffusionModel:
        if isinstance(run, AdapterRun):
            return run.model()
        if isinstance(run, DiffusionModel):
            return run
        return DiffusionModel.load(run, self._shape, self.adapters, self.settings, self.classes)

    @cached_property
    def _shape(self) -> tuple[int, ...] | None:
        """Shape of an example where `resolution` decides about it."""
        return None if self.resolution is None else self.encoders.codec.example_size(self.resolution)

    def queries(
        self,
        source: str,
        *,
        method: SamplerMethod | None = None,
        steps: int | None = None,
        prompts: Prompts | None = None,
        resolution: int | None = None,
        grey: bool = False,
        buckets: int | None = None,
    ) -> Examples:
        """Return the pictures that `source` names; see `read_queries`. All members of an ensemble draw together.

        `method` and `steps` of the sampler are by default those of `sampler`.
        """
        model = self.model if self.ensemble is None else self.ensemble
        sampler = Config(sampler=self.sampler).updated("sampler", method=method, steps=steps).sampler
        size: dict[str, Any] = {"resolution": resolution, "grey": grey, "buckets": buckets}
        return read_queries(model, source, sampler=sampler, prompts=prompts, **size)

    @cached_property
    def sampler(self) -> SamplerConfig:
        """How pictures are drawn.

        It is as the ensemble draws; or as the first run's settings say where they are not the defaults; else by DDIM in
        50 steps, or as many as there are timesteps, and clipped as the scheduler of the folder says.
        """
        if self.ensemble is not None:
            return self.ensemble.config.sampler
        folder = run_folder(self.runs[0])
        if folder is not None and (folder / "config.toml").is_file():
            sampler = read_config(folder / "config.toml").sampler
            if sampler != SamplerConfig():
                return sampler
        return default_sampler(self.model)

    def require_data(self, data: Dataset) -> None:
        """Check that a recorded run was trained on this data, or on the same without a unit column."""
        recorded: list[tuple[str, str, Path | Ensemble]]
        if self.ensemble is not None:
            recorded = [(self.name, self.ensemble.data.fingerprint, self.ensemble)]
        else:
            folders = [folder for run in self.runs if (folder := run_folder(run)) is not None]
            runs = [folder for folder in folders if artefacts.kind_of(folder) == "model"]
            recorded = [(run.name, artefacts.read_manifest(run, "model").inputs["data"], run) for run in runs]
        for name, known, source in recorded:
            if known != data.fingerprint and known != data.ungrouped.fingerprint:
                shape = self.model.codec.picture_size(self.model.size)
                missing = missing_options(data, shape) if self.encoders.draws_pixels else ""
                raise MismatchError(
                    f"{name} was trained on data with the fingerprint {known}, given was data with "
                    f"{data.fingerprint}: {describe_difference(source, data)}. Give the data that it was trained on, "
                    f"with the same options{', such as ' * bool(missing)}{missing}."
                )

    def checkpoints(self, over: str, ids: Sequence[str], parameters: str | None = None) -> list[WeightedCheckpoint]:
        """Return the checkpoints whose scores are added `over` a run, as `Method` says, of the examples with these ids.

        Without `parameters`, adapters are differentiated if there are any, else the whole network.

        Raises:
            ArtefactError: A run kept no checkpoints, or none after a whole epoch.
            MismatchError: The record of a run is of other training examples.
        """
        checkpoints: list[WeightedCheckpoint] = []
        parameters = parameters or ("lora_" if self.adapters else None)
        for run in self.runs:
            if isinstance(run, DiffusionModel):
                of_run = [WeightedCheckpoint(LoadedCheckpoint(run, parameters))]
            elif isinstance(run, AdapterRun):
                of_run = adapter_checkpoints(run, over, ids, parameters)
            elif over == "model" or artefacts.kind_of(run) != "model":
                of_run = [
                    WeightedCheckpoint(Checkpoint(run, None, parameters, self.adapters, self._shape, self.settings))
                ]
            else:
                of_run = run_checkpoints(run, over, ids, parameters, Encoders.of(run))
            share, recorded = 1 / len(self.runs), None if self.adapters else recorded_run(run)
            checkpoints += [replace(one, weight=one.weight * share, run=recorded) for one in of_run]
        return checkpoints

    def _sized(self, resolution: int | None) -> Target:
        """The same target for pictures of another height and width; None leaves it as it is."""
        if resolution is None or resolution == self.resolution:
            return self
        if any(isinstance(run, AdapterRun) for run in self.runs):
            if self.model.codec.picture_size(self.model.size)[1:] == (resolution, resolution):
                return self
            raise ConfigError(
                f"{self.name} was trained at the resolution {self.resolution or 'of its base'}; given {resolution}. "
                "Leave --resolution out."
            )
        return replace(self, resolution=resolution)
