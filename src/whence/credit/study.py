"""A study: a model, its contributors' examples, and what is looked at; the values of coalitions are measured in it.

STUDY/request/      an artefact: what all models are compared on, and how they are made
STUDY/data/         the training examples; their units are the contributors
STUDY/held_out/     pictures that training never saw, where there are some
STUDY/queries/      the pictures that are asked about, where there are some
STUDY/full/         what the credited model itself shows
STUDY/recovered/    the credited model with fewer channels, where fine-tuning starts from that
STUDY/looks/NAME/   what the model of a coalition shows
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from whence import artefacts
from whence.config import Config, Count, SamplerConfig, Settings
from whence.credit.compared import compared
from whence.credit.context import Context
from whence.credit.looks import KIND as LOOK
from whence.credit.looks import NEEDS, Look, measure
from whence.credit.pruning import prune
from whence.credit.ways import Way
from whence.data import Dataset, class_inputs, read, write
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.training import train
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.evaluation.bank.retrain import PATIENCE
from whence.seeds import derived_seed

KIND = "credit study"
#: Seed of the names of the pictures that every model draws.
DRAWN_SEED = 1_000_000
#: Steps in which a pruned model learns everything once more, as a share of those of the run.
RECOVERY = 0.3


class StudyConfig(Settings):
    """What all models are compared on, and how they are made."""

    way: Way = Field(Way(), description="How the models of coalitions are made.")
    pictures: Annotated[int, Field(ge=0)] = Field(128, description="Pictures that every model draws.")
    held_out: Annotated[int, Field(ge=0)] = Field(128, description="Held-out pictures that are looked at, at most.")
    draws: Count = Field(32, description="Draws at which the loss of a picture is measured.")
    sampler: SamplerConfig = Field(SamplerConfig(method="ddim", batch_size=64), description="How pictures are drawn.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of trainings and measurements.")


@dataclass(frozen=True, eq=False)
class Study:
    """A study on disk; see the module.

    Attributes:
        path: Its directory.
        full: The credited model, a diffusers folder.
        config: Settings of its training.
        settings: What is compared, and how models are made.
    """

    path: Path
    full: Path
    config: Config
    settings: StudyConfig

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
        """Begin a study, or go on with one.

        Args:
            path: Its directory.
            full: The credited model.
            data: Its training examples; their units are the contributors.
            config: Settings of its training.
            settings: What is compared, and how models are made.
            held_out: Pictures that training never saw, the first of which are looked at.
            queries: Pictures that are asked about.

        Returns:
            The study; no model is made yet.

        Raises:
            MismatchError: The directory holds a study of something else.
            DataError: Pictures are of another size or range than the model's, or a held-out one is a training example.
            ConfigError: Nothing is to be looked at, or the queries were drawn in another way than `settings` say.
        """
        settings = settings or StudyConfig()
        model = DiffusionModel.load(full)
        found = compared(model, data, held_out, queries, most=settings.held_out, sampler=settings.sampler)
        if found["held_out"] is None and found["queries"] is None and settings.pictures < 1:
            raise ConfigError("Nothing is to be looked at: ask for pictures, give held-out ones or queries.")
        inputs = {"model": fingerprint(model)} | {name: one and one.fingerprint for name, one in found.items()}
        inputs |= class_inputs(**found)
        drawn = bool(queries and queries.origin and queries.origin.drawn)
        made = {"config": config.record(), "settings": settings.record(), "drawn": drawn}
        try:
            there = artefacts.existing(path / "request", KIND, inputs=inputs, made=made)
        except MismatchError as error:
            raise MismatchError(
                f"{path} holds another study; use another folder, or delete this one. {error}"
            ) from None
        if there is None:
            for name, pictures in found.items():
                if pictures is not None:
                    write(pictures, path / name)
            with artefacts.create(path / "request", KIND, inputs=inputs, made=made, patience=PATIENCE):
                pass
        return cls(path, full, config, settings)

    @classmethod
    def open(cls, path: Path, full: Path) -> Study:
        """Return a study that was begun; `full` is checked where it is first used.

        Raises:
            ArtefactError: There is no study, or it is damaged.
        """
        made = artefacts.read_manifest(path / "request", KIND).made
        return cls(path, full, Config(**made["config"]), StudyConfig(**made["settings"]))

    @cached_property
    def request(self) -> artefacts.Manifest:
        """What was asked for when it was begun."""
        return artefacts.read_manifest(self.path / "request", KIND)

    @property
    def inputs(self) -> dict[str, Any]:
        """What its looks are made from."""
        return {"study": self.request.fingerprint}

    @cached_property
    def model(self) -> DiffusionModel:
        """The credited model.

        Raises:
            MismatchError: It is another one than when the study was begun.
        """
        model = DiffusionModel.load(self.full)
        stated, now = self.request.inputs["model"], fingerprint(model)
        if now != stated:
            raise MismatchError(
                f"{self.full} changed since {self.path} was begun: its fingerprint was {stated[:12]}, now it is "
                f"{now[:12]}. Put the model back, or give another folder to begin anew."
            )
        return model

    @cached_property
    def start(self) -> DiffusionModel:
        """The model that fine-tuning goes on from: the credited one; pruned, it first learns everything once more."""
        way, recovered = self.settings.way, self.path / "recovered"
        if not way.pruned:
            return self.model
        smaller = DiffusionModel.load(prune(self.full, way.pruned, self.path / "pruned"))
        recovery = max(1, round(RECOVERY * self.config.training.steps))
        config = self.config.updated("training", steps=recovery, seed=self.seed(0), checkpoints=0)
        train(self.data, recovered, config, start=smaller, patience=PATIENCE)
        return DiffusionModel.load(recovered)

    @cached_property
    def data(self) -> Dataset:
        """The training examples."""
        return self._read("data")

    @cached_property
    def context(self) -> Context:
        """What all models are compared on; the reference is what the credited model draws."""
        return replace(self.compared_on, reference=self.itself.pictures)

    @cached_property
    def itself(self) -> Look:
        """What the credited model itself shows."""
        return self.kept_look(self.path / "full", self.model, "full")

    def kept_look(self, place: Path, model: DiffusionModel, name: str) -> Look:
        """Return what a model that isn't of a coalition shows, looked at once."""
        request: dict[str, Any] = {"inputs": self.inputs, "made": {"model": name}}
        if artefacts.existing(place, LOOK, **request) is None:
            self.look(model).write(place, **request, patience=PATIENCE)
        return Look.read(place)

    def look(self, model: DiffusionModel) -> Look:
        """Return what a model shows, as all others do."""
        return measure(model, self.compared_on, self.settings.sampler, NEEDS)

    def seed(self, repeat: int) -> int:
        """The training seed of the models of a repeat; the same for all coalitions."""
        return derived_seed(self.settings.seed, f"coalition {repeat}")

    @cached_property
    def compared_on(self) -> Context:
        """The context, before the credited model was looked at: its reference is black."""
        held_out, queries = (
            self._read(name) if self.request.inputs[name] else None for name in ("held_out", "queries")
        )
        names = tuple(f"{DRAWN_SEED}/{k}" for k in range(self.settings.pictures))
        black = np.zeros((len(names), *self.data.size), np.uint8)
        drawn = np.full(0 if queries is None else len(queries), self.request.made["drawn"], bool)
        return Context(self.data, held_out, names, black, queries, drawn, self.settings.draws, self.settings.seed)

    def _read(self, name: str) -> Dataset:
        """Return pictures of the study, checked by hash.

        Raises:
            ArtefactError: They are damaged, or others than it was begun with.
        """
        artefacts.read_verified(self.path / name, "dataset")
        found = read(self.path / name)
        if found.fingerprint != self.request.inputs[name]:
            raise ArtefactError(
                f"{self.path / name} holds other pictures than the study was begun with; put them back."
            )
        return found
