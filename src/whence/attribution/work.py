"""The features that methods need: which stores, made from which models, examples and draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from whence.attribution.method import Method
from whence.attribution.queries import Queries
from whence.attribution.target import Part, Target
from whence.config import Settings
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import predicted_clean
from whence.errors import ConfigError
from whence.gradients.compression import Compression
from whence.gradients.coverage import Coverage
from whence.gradients.preparing import prepare, suitable_batch
from whence.gradients.sources import Own, Source, Trajectory
from whence.gradients.store import Job, Precision, Request
from whence.gradients.subject import Subject
from whence.scores.jackknife import GROUPS
from whence.seeds import derived_seed

#: Draws at each step of a query's trajectory.
STEP_DRAWS = GROUPS


class AttributionConfig(Settings):
    """How gradients are taken and turned into scores."""

    draws: Annotated[int, Field(ge=GROUPS, strict=True)] = Field(
        128,
        description=f"Draws (timestep, noise) per example and query, {GROUPS} at least; standard errors are best where "
        "they are a multiple of 64, which spreads every group evenly over the timesteps.",
    )
    damping: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Damping λ as a multiple of the mean eigenvalue of the kernel. Default: the method's own.",
    )
    seed: int = Field(0, ge=0, description="Seed of the draws.")
    compression: Compression = Field(Compression(), description="What is kept of a gradient.")
    autocast: bool = Field(False, description="Run the network in bfloat16 where that is safe.")
    precision: Precision = Field("float32", description="How features are kept on disk: float32 or float16.")

    def shared(self) -> dict[str, Any]:
        """The settings that all scores in a folder share, as JSON values: all but draws and damping."""
        return {name: value for name, value in self.record().items() if name not in ("draws", "damping")}


@dataclass(frozen=True)
class Look:
    """What one set of weights shows of examples and queries.

    Attributes:
        part: The weights.
        examples: The store of the examples' features.
        queries: The store of the queries' features.
    """

    part: Part
    examples: Path
    queries: Path


@dataclass
class Work:
    """Everything that has to be made before scores can be computed.

    Attributes:
        store: Where features are kept.
        target: What is explained.
        examples: The training examples.
        queries: The queries, and whether the model drew them.
        pictures: The queries as examples.
        config: The settings.
        only: Whether the layer of that name is differentiated; default all of them.
        jobs: The features that are wanted, by store.
        coverage: The layers that are differentiated.
    """

    store: Path
    target: Target
    examples: Examples
    queries: Queries | Examples
    pictures: Examples
    config: AttributionConfig
    only: Callable[[str], bool] | None = None
    jobs: dict[Path, Job] = field(default_factory=dict)
    coverage: Coverage | None = None
    _subjects: dict[Checkpoint | DiffusionModel, Subject] = field(default_factory=dict)
    _written: set[Path] = field(default_factory=set)

    @cached_property
    def trajectory(self) -> tuple[list[int], Examples]:
        """The timesteps of the queries' trajectories and their predicted clean pictures, QUERY@TIMESTEP by name.

        Raises:
            ConfigError: The queries weren't drawn by the model.
        """
        queries = self.queries
        if not isinstance(queries, Queries) or not queries.drawn or queries.sampler is None:
            raise ConfigError(
                "Journey-TRAK explains the way to a picture, so the model must have drawn the queries itself: give "
                "--queries sample:COUNT, or leave this method out."
            )
        timesteps, clean = predicted_clean(self.target.model, queries.sampler, queries.names)
        names = [f"{name}@{t}" for t in timesteps for name in queries.names]
        return timesteps, Examples(tuple(names), clean.flatten(0, 1))

    def query_names(self, method: Method) -> tuple[str, ...]:
        """The queries of a method's scores: pictures, or every step on the way to each of them, QUERY@TIMESTEP."""
        if method.steps != "each":
            return self.pictures.ids
        return tuple(f"{name}@{t}" for name in self.pictures.ids for t in self.trajectory[0])

    def looks(self, method: Method) -> list[Look]:
        """Note what a method needs, and return where it will be."""
        found = []
        for part in self.target.parts(method.over, self.examples.ids):
            subject = self._subject(part)
            root = self.store / subject.fingerprint[:12]
            kind = "shared-" if method.shared else ""
            name, draws = f"{kind}examples", self.config.draws
            if part.source:
                name, draws = f"recorded-{part.source.last:05d}", recorded_draws(draws, part.source.visits)
            examples = self._job(
                root / name, subject, self.examples, part.source or self._own("examples", method), draws, method
            )
            source: Source
            if method.steps == "none":
                source, pictures, draws = self._own("queries", method), self.pictures, self.config.draws
            else:
                timesteps, pictures = self.trajectory
                at = {name: int(name.rsplit("@", 1)[1]) for name in pictures.ids}
                source, draws = Trajectory(self._draws("trajectory"), at), STEP_DRAWS
            asked = f"{kind}queries" if method.steps == "none" else "trajectory"
            place = root / f"{asked}-{pictures.fingerprint[:12]}"
            found.append(Look(part, examples, self._job(place, subject, pictures, source, draws, method)))
        return found

    def _job(
        self, path: Path, subject: Subject, examples: Examples, source: Source, draws: int, method: Method
    ) -> Path:
        """Add a method's kind of features to what is wanted of a store."""
        place = self.store / "sets" / examples.fingerprint[:12]
        if place not in self._written:
            examples.write(place)
            self._written.add(place)
        request = Request(
            subject,
            place,
            examples.fingerprint,
            source,
            suitable_batch(examples.values.shape[1:]),
            self.config.precision,
        )
        known = self.jobs[path].features if path in self.jobs else ()
        self.jobs[path] = Job(path, request, sorted({*known, method.feature}), draws)
        return path

    def _subject(self, part: Part) -> Subject:
        if part.where not in self._subjects:
            self._subjects[part.where], self.coverage = prepare(
                self.store,
                part.where,
                self.examples,
                self.config.compression,
                autocast=self.config.autocast,
                only=self.only,
            )
        return self._subjects[part.where]

    def _draws(self, purpose: str) -> Draws:
        return self.target.model.process.draws(derived_seed(self.config.seed, purpose))

    def _own(self, purpose: str, method: Method) -> Own:
        """Draws of each example's own, others for queries than for examples; or the same for all of them."""
        if not method.shared:
            return Own(self._draws(purpose))
        return Own(replace(self._draws("shared"), shared=True))


def recorded_draws(draws: int, visits: int) -> int:
    """Return how many recorded visits are looked at: the latest ones, or all, each as often as the others.

    Example:
        >>> recorded_draws(100, 250), recorded_draws(100, 40), recorded_draws(100, 3)
        (100, 40, 9)
    """
    return draws if visits >= draws else visits * -(-GROUPS // visits)
