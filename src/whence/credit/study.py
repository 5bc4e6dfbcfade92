"""A study: a model, its contributors' examples, and what is measured of the models of coalitions.

STUDY/request/      an artefact: what all models are compared on, and how they are made
STUDY/data/         the training examples; their units are the contributors
STUDY/held_out/     pictures that training never saw, where there are some
STUDY/queries/      the pictures that are explained, where there are some
STUDY/full/         the measurement of the credited model
STUDY/looks/NAME/   the measurement of the model of a coalition
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from whence import artefacts
from whence.config import Config, Count, SamplerConfig, Settings
from whence.credit.behaviours.declaration import Context
from whence.credit.study_pictures import select_pictures
from whence.data import Dataset, class_inputs, read, write
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.retraining.measurement import LOOK, Measurement, MeasurementPlan, measure
from whence.retraining.retrain import Retraining, open_once
from whence.retraining.rule import NO_PARTS, PATIENCE, RetrainingRule
from whence.seeds import derived_seed

KIND = "credit study"
#: Seed of the names of the pictures that every model draws.
DRAWN_SEED = 1_000_000


class StudyConfig(Settings):
    """What all models are compared on, and how they are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    rule: RetrainingRule = Field(RetrainingRule(), alias="way", description="How the models of coalitions are made.")
    pictures: Annotated[int, Field(ge=0)] = Field(128, description="Pictures that every model draws.")
    held_out: Annotated[int, Field(ge=0)] = Field(128, description="Held-out pictures whose loss is measured, at most.")
    draws: Count = Field(32, description="Draws at which the loss of a picture is measured.")
    sampler: SamplerConfig = Field(SamplerConfig(method="ddim", batch_size=64), description="How pictures are drawn.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of trainings and measurements.")

    @model_validator(mode="after")
    def _require_coalitions_alone(self) -> Self:
        if self.rule.kind == "weight 0":
            raise ConfigError("Models of coalitions are made by fine-tuning or retraining, not with weight 0.")
        return self

    def record(self) -> dict[str, Any]:
        """The settings as JSON values; manifests call the rule ``way``."""
        return self.model_dump(mode="json", by_alias=True)


def measurement_plan(
    settings: StudyConfig, held_out: Dataset | None, queries: Dataset | None, drawn: bool
) -> MeasurementPlan:
    """Return what is measured of every model; `drawn` says whether the queries were drawn by the credited model."""
    names = tuple(f"{DRAWN_SEED}/{k}" for k in range(settings.pictures))
    all_drawn = np.full(0 if queries is None else len(queries), drawn, bool)
    return MeasurementPlan(names, held_out, queries, all_drawn, settings.sampler, settings.draws, settings.seed)


@dataclass(frozen=True, eq=False)
class Study:
    """A study on disk; see the module.

    Attributes:
        path: Its directory.
        full: The credited model, a diffusers folder.
        config: Settings of its training.
        settings: What models are compared on, and how they are made.
    """

    path: Path
    full: Path
    config: Config
    settings: StudyConfig

    layout = LOOK
    parts = NO_PARTS

    @classmethod
    def begin(
        cls,
        path: Path,
        full: Path,
        data: Dataset,
        config: Config,
        settings: StudyConfig | None = None,
        held_out: Dataset | None = None,
        queries: Examples | None = None,
    ) -> Study:
        """Begin a study, or continue one; no model is made yet.

        Args:
            path: Its directory.
            full: The credited model.
            data: Its training examples; their units are the contributors.
            config: Settings of its training.
            settings: What models are compared on, and how they are made.
            held_out: Pictures that training never saw; the loss of the first ones is measured.
            queries: Pictures that are explained.

        Returns:
            The study.

        Raises:
            MismatchError: The directory holds another study.
            DataError: Pictures are of another size or range than the model's, or a held-out one is a training example.
            ConfigError: Nothing is to be measured, or the queries were drawn in another way than `settings` say.
        """
        settings = StudyConfig.of(settings)
        model = DiffusionModel.load(full)
        pictures = select_pictures(model, data, held_out, queries, most=settings.held_out, sampler=settings.sampler)
        if pictures["held_out"] is None and pictures["queries"] is None and settings.pictures < 1:
            raise ConfigError("Nothing is to be measured: ask for pictures, give held-out ones or queries.")
        inputs: dict[str, Any] = {"model": fingerprint(model)}
        inputs |= {name: images and images.fingerprint for name, images in pictures.items()}
        inputs |= class_inputs(**pictures)
        drawn = bool(queries and queries.origin and queries.origin.drawn)
        made = {"config": config.record(), "settings": settings.record(), "drawn": drawn}
        try:
            manifest = artefacts.existing(path / "request", KIND, inputs=inputs, made=made)
        except MismatchError as error:
            raise MismatchError(
                f"{path} holds another study; use another folder, or delete this one. {error}"
            ) from None
        if manifest is None:

            def build(_: Path) -> None:
                for name, images in pictures.items():
                    if images is not None:
                        write(images, path / name)

            artefacts.ensure(path / "request", KIND, inputs=inputs, made=made, build=build, patience=PATIENCE)
        return cls(path, full, config, settings)

    @classmethod
    @artefacts.reader
    def open(cls, path: Path, full: Path) -> Study:
        """Return a study that was begun, or raise ArtefactError; `full` is checked when it is first used."""
        made = artefacts.read_manifest(path / "request", KIND).made
        return cls(path, full, Config(**made["config"]), StudyConfig(**made["settings"]))

    @cached_property
    def manifest(self) -> artefacts.Manifest:
        """What it is made of."""
        return artefacts.read_manifest(self.path / "request", KIND)

    @property
    def inputs(self) -> dict[str, Any]:
        """What its measurements are made from."""
        return {"study": self.manifest.fingerprint}

    @property
    def reopen(self) -> Callable[[], Study]:
        """Opens the study in another process."""
        return partial(open_once, Study.open, (self.path, self.full), self.manifest.fingerprint)

    @cached_property
    def start(self) -> DiffusionModel:
        """The credited model, from which fine-tuning starts.

        Raises:
            MismatchError: It is another one than when the study was begun.
        """
        model = DiffusionModel.load(self.full)
        stated, now = self.manifest.inputs["model"], fingerprint(model)
        if now != stated:
            raise MismatchError(
                f"{self.full} changed since {self.path} was begun: its fingerprint was {stated[:12]}, now it is "
                f"{now[:12]}. Put the model back, or give another folder to begin anew."
            )
        return model

    @cached_property
    def data(self) -> Dataset:
        """The training examples."""
        return self._read("data")

    @cached_property
    def plan(self) -> MeasurementPlan:
        """What is measured of every model."""
        held_out, queries = (
            self._read(name) if self.manifest.inputs[name] else None for name in ("held_out", "queries")
        )
        return measurement_plan(self.settings, held_out, queries, self.manifest.made["drawn"])

    def measure_full(self) -> Measurement:
        """Measure the credited model, if that was not done before, and return its measurement."""
        return self.measure_model(self.path / "full", self.start, "full")

    @cached_property
    def context(self) -> Context:
        """What behaviours are computed from; the reference is what the credited model drew for `measure_full`."""
        return Context(self.data, self.plan, Measurement.read(self.path / "full", self.layout).pictures)

    def measure_model(self, path: Path, model: DiffusionModel, name: str) -> Measurement:
        """Measure a model that isn't of a coalition, if that was not done before, and return its measurement."""
        made = {"model": name}
        if artefacts.existing(path, self.layout.kind, inputs=self.inputs, made=made) is None:
            measure(model, self.plan).write(path, self.layout, self.inputs, made, PATIENCE)
        return Measurement.read(path, self.layout)

    def seed(self, repeat: int) -> int:
        """The training seed of the models of a repeat; the same for all coalitions."""
        return derived_seed(self.settings.seed, f"coalition {repeat}")

    def retraining(self, rows: np.ndarray, repeat: int) -> Retraining:
        """Return the model of the examples in some rows, ascending, for a repeat."""
        rule = self.settings.rule
        config = rule.settings(self.config, len(rows), len(self.data), self.seed(repeat))
        made = {"rows": artefacts.digest(rows.tolist()), "repeat": repeat}
        return Retraining(self.measurement_name(rows, repeat), rows, rule, config, self.inputs, made)

    @staticmethod
    def measurement_name(rows: np.ndarray, repeat: int) -> str:
        """Return the name of the measurement of a model; models of equal examples and repeats have the same."""
        return artefacts.digest([rows.tolist(), repeat])[:20]

    def _read(self, name: str) -> Dataset:
        """Return pictures of the study, checked by hash; an ArtefactError if they are not those it was begun with."""
        artefacts.read_verified(self.path / name, "dataset")
        images = read(self.path / name)
        if images.fingerprint != self.manifest.inputs[name]:
            raise ArtefactError(
                f"{self.path / name} holds other pictures than the study was begun with; put them back."
            )
        return images
