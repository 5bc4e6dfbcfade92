"""The origin of pictures that were drawn."""

from __future__ import annotations

from dataclasses import dataclass

from whence.config import SamplerConfig
from whence.diffusion.prompts import Prompts


@dataclass(frozen=True)
class Origin:
    """How pictures were drawn.

    Attributes:
        sampler: Settings of the sampler.
        drawn: Whether the model that is explained drew them by itself, from the noise of their ids SEED/INDEX, so that
            `whence.diffusion.sampling.predicted_clean` can draw them again.
        prompts: The prompts that they were drawn from; None for a model without text.
    """

    sampler: SamplerConfig
    drawn: bool
    prompts: Prompts | None = None
