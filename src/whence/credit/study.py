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

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from whence import artefacts
from whence.attribution.queries import Queries
from whence.config import Config, Count, SamplerConfig, Settings
from whence.credit.looks import NEEDS, Context, Look, measure
from whence.credit.pruning import prune
from whence.credit.ways import Way
from whence.data import Dataset, read, write
from whence.diffusion.fingerprint import fingerprint
from whence.diffusion.process import DiffusionModel
from whence.diffusion.ranges import require_size
from whence.diffusion.training import train
from whence.errors import ConfigError, DataError, MismatchError
from whence.evaluation.bank.retrain import PATIENCE
from whence.images import to_pixels
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
        queries: Queries | None = None,
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
            DataError: Pictures are of another size than the model's, or a held-out one is a training example.
            ConfigError: Nothing is to be looked at.
        """
        settings = settings or StudyConfig()
        model = DiffusionModel.load(full)
        for role, pictures in (("training images", data), ("held-out pictures", held_out)):
            if pictures is not None:
                require_size(model, pictures.images([0]), role)
        few = _held_out(data, held_out, settings.held_out)
        asked = None if queries is None else _dataset(queries)
        if few is None and asked is None and settings.pictures < 1:
            raise ConfigError("Nothing is to be looked at: ask for pictures, give held-out ones or queries.")
        inputs = {
            "model": fingerprint(model),
            "data": data.fingerprint,
            "held_out": few.fingerprint if few else None,
            "queries": asked.fingerprint if asked else None,
        }
        made = {"config": config.record(), "settings": settings.record(), "drawn": bool(queries and queries.drawn)}
        if artefacts.existing(path / "request", KIND, inputs=inputs, made=made) is None:
            for name, pictures in (("data", data), ("held_out", few), ("queries", asked)):
                if pictures is not None:
                    write(pictures, path / name)
            with artefacts.create(path / "request", KIND, inputs=inputs, made=made):
                pass
        return cls(path, full, config, settings)

    @classmethod
    def open(cls, path: Path, full: Path) -> Study:
        """Open a study that was begun."""
        made = artefacts.read_manifest(path / "request", KIND).made
        return cls(path, full, Config(**made["config"]), StudyConfig(**made["settings"]))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What its looks are made from."""
        return {"study": artefacts.read_manifest(self.path / "request", KIND).fingerprint}

    @cached_property
    def data(self) -> Dataset:
        """The training examples."""
        return read(self.path / "data")

    @cached_property
    def context(self) -> Context:
        """What all models are compared on; the reference is what the credited model draws."""
        return self._context(self.itself.pictures)

    @cached_property
    def itself(self) -> Look:
        """What the credited model itself shows."""
        place = self.path / "full"
        if not (place / artefacts.MANIFEST).exists():
            model = DiffusionModel.load(self.full)
            if fingerprint(model) != artefacts.read_manifest(self.path / "request", KIND).inputs["model"]:
                raise MismatchError(f"{self.full} changed since {self.path} was begun. Give another folder.")
            self.look(model).write(place, self.inputs, {"model": "full"})
        return Look.read(place)

    @cached_property
    def start(self) -> Path:
        """The model that fine-tuning goes on from: the credited one; pruned, it first learns everything once more."""
        way = self.settings.way
        if not way.pruned:
            return self.full
        smaller = prune(self.full, way.pruned, self.path / "pruned")
        recovery = max(1, round(RECOVERY * self.config.training.steps))
        config = self.config.updated("training", steps=recovery, seed=self.seed(0), checkpoints=0)
        train(self.data, self.path / "recovered", config, start=DiffusionModel.load(smaller), patience=PATIENCE)
        return self.path / "recovered"

    def look(self, model: DiffusionModel) -> Look:
        """Return what a model shows, as all others do."""
        unseen = np.zeros((self.settings.pictures, *self.data.size), np.uint8)
        return measure(model, self._context(unseen), self.settings.sampler, NEEDS)

    def seed(self, repeat: int) -> int:
        """The training seed of the models of a repeat; the same for all coalitions."""
        return derived_seed(self.settings.seed, f"coalition {repeat}")

    def _context(self, reference: np.ndarray) -> Context:
        def found(name: str) -> Dataset | None:
            return read(self.path / name) if (self.path / name).exists() else None

        names = tuple(f"{DRAWN_SEED}/{k}" for k in range(self.settings.pictures))
        queries = found("queries")
        drawn = artefacts.read_manifest(self.path / "request", KIND).made["drawn"]
        which = np.full(0 if queries is None else len(queries), drawn)
        settings = self.settings
        held_out = found("held_out")
        return Context(self.data, held_out, names, reference, queries, which, settings.draws, settings.seed)


@lru_cache(maxsize=1)
def opened(path: Path, full: Path) -> Study:
    """A study that is opened once in a process."""
    return Study.open(path, full)


def _held_out(data: Dataset, held_out: Dataset | None, count: int) -> Dataset | None:
    if held_out is None or count == 0:
        return None
    seen = set(data.fingerprints)
    few = held_out.select(np.arange(min(count, len(held_out))))
    both = [name for name, own in zip(few.ids, few.fingerprints, strict=True) if own in seen]
    if both:
        raise DataError(
            f"{len(both)} of {len(few)} held-out pictures are training examples too, such as {both[0]!r}. Give "
            "pictures that training never saw."
        )
    return few


def _dataset(queries: Queries) -> Dataset:
    """Queries as a data set, as 8-bit pixels."""
    count = len(queries.names)
    return Dataset(queries.names, to_pixels(queries.pictures), (("query",),) * count, (None,) * count)
