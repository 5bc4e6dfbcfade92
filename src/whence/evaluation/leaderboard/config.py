"""The settings of a leaderboard."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from whence.config import Count, Settings
from whence.gradients.compression import Compression

#: Damping as a multiple of the mean eigenvalue, from 1e-4 to 1e2 by half decades.
DAMPINGS = tuple(float(f"{10 ** (k / 2):.2g}") for k in range(-8, 5))


class LeaderboardConfig(Settings):
    """What is measured, and how long that may take."""

    methods: tuple[str, ...] | None = Field(
        None, description="Names of gradient methods. Default: all that give scores of the queries themselves."
    )
    draws: tuple[Annotated[int, Field(ge=8)], ...] = Field(
        (10, 50, 100, 200), description="Draws per picture, ascending; the last is that of all other figures."
    )
    followed: tuple[str, ...] = Field(
        ("tangent", "d-trak", "trak", "das", "gradient-dot"), description="Methods that are measured at all of these."
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
        ("tangent", "d-trak", "trak", "das", "gradient-dot", "gradient-cosine"),
        description="Gradient methods that are compared with the ensemble.",
    )
    ensemble_draws: Annotated[int, Field(ge=8)] = Field(16, description="Draws per picture and member.")
    ensemble_queries: Count = Field(40, description="Held-out pictures whose exact losses are known.")
    samples: Count = Field(32, description="Pictures drawn by the ensemble for the false attribution rate.")
    top: str = Field("5%", description="Share of the training images that deletion removes.")
