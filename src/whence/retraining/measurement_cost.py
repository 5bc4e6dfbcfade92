"""How long a measurement takes, from measuring a little of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from whence.config import SamplerConfig
from whence.cost import median_seconds
from whence.data import Dataset
from whence.diffusion.model import DiffusionModel
from whence.retraining.make_measurement import BATCH, draw_pixels, measure_losses

#: Sampling steps that are timed.
TIMED_STEPS = 3


def time_losses(model: DiffusionModel, data: Dataset, draws: int, pictures: int) -> float:
    """Return the seconds that losses of so many pictures take one model, measured on some of `data`."""
    if not pictures:
        return 0.0
    few = data.select(np.arange(min(len(data), max(1, BATCH // draws))))
    seconds = median_seconds(partial(measure_losses, model, few, model.process.draws(0), draws), 3)
    return seconds * pictures / len(few)


def time_drawing(model: DiffusionModel, sampler: SamplerConfig, names: Sequence[str]) -> float:
    """Return the seconds that drawing the pictures SEED/INDEX takes one model, measured on one batch and few steps."""
    if not names:
        return 0.0
    short = sampler.model_copy(update={"steps": min(TIMED_STEPS, sampler.steps)})
    seconds = median_seconds(partial(draw_pixels, model, short, names[: sampler.batch_size]), 1)
    return seconds * -(-len(names) // sampler.batch_size) * sampler.steps / short.steps
