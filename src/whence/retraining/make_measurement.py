"""Measuring a model: the losses of pictures, and the pictures that it draws, on noise that all models share."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from whence.config import SamplerConfig
from whence.data import Dataset
from whence.diffusion.denoiser import predict
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.sampling import draw_pictures
from whence.engine import DEFAULT, Engine, one_thread, silent
from whence.errors import NotFiniteError
from whence.retraining.measurement import PARTS, Measurement, MeasurementPlan, Part
from whence.seeds import derived_seed

#: Rows of a canonical batch.
BATCH = 256


def measure(
    model: DiffusionModel, plan: MeasurementPlan, parts: Collection[Part] = PARTS, engine: Engine = DEFAULT
) -> Measurement:
    """Return what is measured of a model: the pictures that it draws, and its losses at draws that all models share.

    A picture or a loss does not depend on what else is measured.

    Args:
        model: The model.
        plan: What is measured of every model.
        parts: Parts of it that are measured.
        engine: Where networks compute. Its report is not called.

    Returns:
        Losses are mean squared errors per element of the network's output; larger is a worse fit.

    Raises:
        NotFiniteError: A loss or a picture is not finite.

    Example:
        >>> from whence.config import ModelConfig
        >>> queries = Dataset(("a",), np.zeros((1, 1, 4, 4), np.uint8), (("anna",),), (None,))
        >>> sampler = SamplerConfig(method="ddim", steps=2)
        >>> plan = MeasurementPlan(("0/0",), None, queries, np.zeros(1, bool), sampler)
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 4, 4), seed=0)
        >>> measurement = measure(model, plan, ["pictures", "losses"])
        >>> measurement.pictures.shape, measurement.losses.shape, measurement.held_out.shape
        ((1, 1, 4, 4), (1,), (0,))
    """
    engine = engine.reporting(silent)
    names = plan.names if "pictures" in parts else ()
    redrawn = plan.redrawn if "redrawn" in parts else ()
    unique = tuple(dict.fromkeys((*names, *redrawn)))
    rows = {name: k for k, name in enumerate(unique)}
    pictures = draw_pixels(model, plan.sampler, unique, engine)
    draws = model.process.draws(derived_seed(plan.seed, "measurement"))

    def losses(data: Dataset | None, part: Part) -> np.ndarray:
        return (
            measure_losses(model, data, draws, plan.draws, engine)
            if data is not None and part in parts
            else np.zeros(0)
        )

    return Measurement(
        pictures[[rows[name] for name in names]],
        losses(plan.held_out, "held_out"),
        losses(plan.queries, "losses"),
        pictures[[rows[name] for name in redrawn]],
        fingerprint(model),
    )


def measure_losses(
    model: DiffusionModel, queries: Dataset, draws: Draws, count: int, engine: Engine = DEFAULT
) -> np.ndarray:
    """Return the mean denoising loss of every query over `count` draws, float64 [Q].

    The draws belong to the queries, so all models are measured on the same ones and their differences are far less
    noisy than the losses themselves.

    Args:
        model: The model.
        queries: Q pictures.
        draws: Timesteps and noise.
        count: Draws for each query.
        engine: Where work runs.

    Raises:
        NotFiniteError: A loss is NaN or infinite.
    """
    network, means = model.network.to(engine.device).eval(), np.empty(len(queries))
    block = max(1, BATCH // count)
    with one_thread():
        for first in range(0, len(queries), block):
            rows = range(first, min(first + block, len(queries)))
            ids = [queries.ids[q] for q in rows for _ in range(count)]
            t, noise = draws(ids, np.tile(np.arange(count), len(rows)), queries.size)
            x = queries.images(rows).repeat_interleave(count, 0)
            x, t, noise = (values.to(model.device) for values in (x, t, noise))
            output = predict(network, model.process.noised(x, t, noise), t, BATCH)
            losses = (output.double() - model.process.target(x, t, noise).double()).square().flatten(1).mean(1)
            means[first : first + len(rows)] = losses.reshape(len(rows), count).mean(1).cpu().numpy()
    if not np.isfinite(means).all():
        bad = queries.ids[int(np.argmin(np.isfinite(means)))]
        raise NotFiniteError(f"The loss of query {bad!r} is not finite under a retrained model.")
    return means


def draw_pixels(
    model: DiffusionModel, sampler: SamplerConfig, names: Sequence[str], engine: Engine = DEFAULT
) -> np.ndarray:
    """Return the pictures SEED/INDEX as the model draws them, uint8 [G, C, H, W]."""
    if not names:
        return np.zeros((0, *model.size), np.uint8)
    return model.codec.decode(draw_pictures(model, sampler, names, engine))
