"""Losses of pictures under a model, on draws that all models share, and how long they take."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from whence.cost import median_seconds
from whence.data import Dataset
from whence.diffusion.denoiser import on_device, predict
from whence.diffusion.draws import Draws
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, one_thread, silent
from whence.errors import NotFiniteError

#: Rows of a canonical batch, and values of latents in it at most.
BATCH, VALUES = 256, 2**17
#: Encoded pictures by the fingerprints of codec, text encoder and pictures, and how many of them are kept.
_ENCODED: dict[tuple[str, str, str], Examples] = {}
KEPT = 4


def measure_losses(
    model: DiffusionModel, queries: Dataset, draws: Draws, count: int, engine: Engine = DEFAULT
) -> np.ndarray:
    """Return the mean denoising loss of every query over `count` draws, float64 [Q]; see `example_losses`."""
    return example_losses(model, _encode(model, queries), draws, count, engine.reporting(silent))


def example_losses(
    model: DiffusionModel, examples: Examples, draws: Draws, count: int, engine: Engine = DEFAULT
) -> np.ndarray:
    """Return the mean denoising loss of every example over `count` draws, float64 [N].

    The draws belong to the examples, so all models are measured on the same ones and their differences are far less
    noisy than the losses themselves. The report is called with (network evaluations done, evaluations in all).

    Raises:
        NotFiniteError: A loss is NaN or infinite.
    """
    network, means = model.network.to(engine.device).eval(), np.empty(len(examples))
    batch = _batch(model)
    block = max(1, batch // count)
    with one_thread():
        for first in range(0, len(examples), block):
            rows = range(first, min(first + block, len(examples)))
            ids = [examples.ids[n] for n in rows for _ in range(count)]
            t, noise = draws(ids, np.tile(np.arange(count), len(rows)), model.size)
            pairs = np.repeat(rows, count)
            x, t, noise = (values.to(model.device) for values in (examples.x(pairs), t, noise))
            conditions = on_device(examples.conditions_of(pairs), model.device)
            output = predict(network, model.process.noised(x, t, noise), t, batch, conditions)
            losses = model.process.loss(output.double(), model.process.target(x, t, noise).double(), t)
            means[first : first + len(rows)] = losses.reshape(len(rows), count).mean(1).cpu().numpy()
            engine.report(rows.stop * count, len(examples) * count)
    if not np.isfinite(means).all():
        bad = examples.ids[int(np.argmin(np.isfinite(means)))]
        raise NotFiniteError(f"The loss of {bad!r} is not finite under the model.")
    return means


def _batch(model: DiffusionModel) -> int:
    """Rows of a canonical batch: fewer of large latents."""
    return BATCH if Encoders.of(model).draws_pixels else max(1, min(BATCH, VALUES // math.prod(model.size)))


def _encode(model: DiffusionModel, queries: Dataset) -> Examples:
    """The pictures as the network gets them; a process encodes the same pictures once for many models."""
    encoders = Encoders.of(model)
    if encoders.are_plain:
        return Examples.of(queries)
    key = (encoders.codec.fingerprint, encoders.text.fingerprint if encoders.text else "", queries.fingerprint)
    if key not in _ENCODED:
        _ENCODED[key] = encoders.encode(queries)
        while len(_ENCODED) > KEPT:
            del _ENCODED[next(iter(_ENCODED))]
    return _ENCODED[key]


def time_losses(model: DiffusionModel, data: Dataset, draws: int, pictures: int) -> float:
    """Return the seconds that losses of so many pictures take one model, measured on some of `data`."""
    if not pictures:
        return 0.0
    few = data.select(np.arange(min(len(data), max(1, _batch(model) // draws))))
    seconds = median_seconds(partial(measure_losses, model, few, model.process.draws(0), draws), 3)
    return seconds * pictures / len(few)
