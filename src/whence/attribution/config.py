"""The settings of an attribution by gradients."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from whence.config import Settings
from whence.gradients.compression import Compression
from whence.gradients.stored_features import Precision
from whence.scores.jackknife import GROUPS


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
        """Return the settings that all scores in a folder share, as JSON values: all but draws and damping."""
        return {name: value for name, value in self.record().items() if name not in ("draws", "damping")}
