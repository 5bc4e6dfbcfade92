"""The leaderboard that is being measured: its bank, its folder and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field

from whence.attribution.attributor import Progress, no_progress
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.methods import METHODS
from whence.attribution.methods import method as method_of
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.target import Target
from whence.config import Count, Settings
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.evaluation.bank.bank import Bank
from whence.gradients.compression import Compression
from whence.scores.scores import Scores
from whence.similarity.attributors import ATTRIBUTORS

#: Attributors that look at pixels alone.
PIXELS = tuple(name for name in ATTRIBUTORS if name != "pixel-flips")
#: Name of the row of random scores.
RANDOM = "random"
#: Damping as a multiple of the mean eigenvalue, from 1e-4 to 1e2 by half decades.
DAMPINGS = tuple(float(f"{10 ** (k / 2):.2g}") for k in range(-8, 5))


class LeaderboardConfig(Settings):
    """What is measured, and how long that may take."""

    methods: tuple[str, ...] | None = Field(
        None,
        description="Names of gradient methods. Default: all that give scores of the queries themselves, but those "
        "with a curvature, which take many times as long.",
    )
    draws: tuple[Annotated[int, Field(ge=8)], ...] = Field(
        (10, 50, 100, 200), description="Draws per picture, ascending; the last is that of all other figures."
    )
    followed: tuple[str, ...] = Field(
        ("tangent-squared", "tangent", "d-trak", "trak", "das", "gradient-dot"),
        description="Methods that are measured at all of these.",
    )
    dampings: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        DAMPINGS, description="Among which the damping is chosen, as multiples of the mean eigenvalue."
    )
    compression: Compression = Field(Compression(), description="What is kept of a gradient.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of draws and of random scores.")
    traced: Count = Field(100, description="Training images that are traced back to themselves.")
    outliers: Count = Field(25, description="Training images that are replaced by outliers.")
    self_draws: Annotated[int, Field(ge=8)] = Field(
        48, description="Draws at which training images are attributed to themselves to find outliers."
    )
    members: Count = Field(16, description="Members of the encoded ensembles.")
    ensemble_methods: tuple[str, ...] = Field(
        ("tangent-squared", "tangent", "d-trak", "trak", "das", "gradient-dot", "gradient-cosine"),
        description="Gradient methods that are compared with the ensemble.",
    )
    ensemble_draws: Annotated[int, Field(ge=8)] = Field(16, description="Draws per picture and member.")
    ensemble_queries: Count = Field(40, description="Held-out pictures whose exact losses are known.")
    samples: Count = Field(32, description="Pictures drawn by the ensemble for the false attribution rate.")
    top: str = Field("5%", description="Share of the training images that deletion removes.")


@dataclass(frozen=True, eq=False)
class Board:
    """A leaderboard that is being measured: its bank, the folder of all results, its settings, and how work runs."""

    bank: Bank
    work: Path
    config: LeaderboardConfig
    workers: int | None = None
    progress: Progress = no_progress

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """The gradient methods that are measured: those of the settings."""
        if self.config.methods is not None:
            return tuple(method_of(name) for name in self.config.methods)
        return tuple(one for one in METHODS.values() if one.steps != "each" and one.curvature is None)

    @cached_property
    def target(self) -> Target:
        """The first reference model, whose pictures and losses are attributed."""
        return Target.open(self.bank.models[0])

    @property
    def draws(self) -> int:
        """Number of draws of all figures but those of the curve over draws."""
        return max(self.config.draws)

    def settings(self, draws: int, seed: int | None = None) -> AttributionConfig:
        """Return the settings of an attribution."""
        seed = self.config.seed if seed is None else seed
        return AttributionConfig(draws=draws, seed=seed, compression=self.config.compression)

    def request(self, methods: Sequence[Method], draws: int, *, drawn: bool) -> AttributionRequest:
        """Return the request for the bank's first model: all queries, or those that it drew, with the way to them."""
        return AttributionRequest.of(self.target, self.bank.data, self.queries(drawn), methods, self.settings(draws))

    def quick_scores(self, request: AttributionRequest, store: Path, title: str) -> dict[str, Scores]:
        """Compute scores without standard errors, which cost a ninth of the scores with them."""
        plan, features = FeaturePlan.of(request), FeatureStore(store)
        with self.progress(title) as report:
            features.extend(plan, engine=Engine(self.workers, report))
        return compute_scores(plan, features, errors=False)

    def queries(self, drawn: bool) -> Examples:
        """Return all queries, or those that the model drew."""
        return self.bank.attribution_queries(True if drawn else None)


def needs_drawn(method: Method) -> bool:
    """Return whether a method explains the way to a picture, so that the model must have drawn the picture."""
    return method.steps != "none"
