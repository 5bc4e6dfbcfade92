"""What is measured of a retrained model: the loss of every query, and pictures drawn again from the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whence.config import SamplerConfig
from whence.data import Dataset
from whence.diffusion.denoiser import predict
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw_pictures
from whence.engine import device, one_thread
from whence.errors import NotFiniteError

#: Rows of a canonical batch.
BATCH = 256


def measure_losses(model: DiffusionModel, queries: Dataset, draws: Draws, count: int) -> np.ndarray:
    """Return the mean denoising loss of every query over `count` draws, float64 [Q].

    The draws belong to the queries, so all models are measured on the same ones and their differences are far less
    noisy than the losses themselves.

    Args:
        model: The model.
        queries: Q pictures.
        draws: Timesteps and noise.
        count: Draws for each query.

    Raises:
        NotFiniteError: A loss is NaN or infinite.
    """
    network, found = model.network.to(device()).eval(), np.empty(len(queries))
    block = max(1, BATCH // count)
    with one_thread():
        for first in range(0, len(queries), block):
            rows = range(first, min(first + block, len(queries)))
            ids = [queries.ids[q] for q in rows for _ in range(count)]
            t, noise = draws(ids, np.tile(np.arange(count), len(rows)), queries.size)
            x = queries.images(rows).repeat_interleave(count, 0)
            x, t, noise = (values.to(device()) for values in (x, t, noise))
            output = predict(network, model.process.noised(x, t, noise), t, BATCH)
            losses = (output.double() - model.process.target(x, t, noise).double()).square().flatten(1).mean(1)
            found[first : first + len(rows)] = losses.reshape(len(rows), count).mean(1).cpu().numpy()
    if not np.isfinite(found).all():
        bad = queries.ids[int(np.argmin(np.isfinite(found)))]
        raise NotFiniteError(f"The loss of query {bad!r} is not finite under a retrained model.")
    return found


def draw_again(model: DiffusionModel, sampler: SamplerConfig, names: Sequence[str]) -> np.ndarray:
    """Return the pictures SEED/INDEX as the model draws them, uint8 [G, C, H, W]."""
    if not names:
        return np.zeros((0, *model.size), np.uint8)
    return model.codec.decode(draw_pictures(model, sampler, names))
