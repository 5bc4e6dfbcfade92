"""Training one diffusion model: recorded, resumable to the last bit, with per-example weights; and its cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.cost import Cost, counted, median_seconds, peak_memory
from whence.data import Dataset
from whence.diffusion.checks import require_size
from whence.diffusion.denoiser import NO_CONDITIONS
from whence.diffusion.families.family import family_of_network
from whence.diffusion.families.unet import complete_config, complete_training
from whence.diffusion.loop import Loop
from whence.diffusion.memory import LARGE
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.engine import DEFAULT, Engine, one_thread
from whence.errors import DataError


def train(
    data: Dataset,
    path: str | Path,
    config: Config | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    start: DiffusionModel | None = None,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
    engine: Engine = DEFAULT,
    patience: float = 0.0,
) -> Manifest:
    """Train one model and record the run; an interrupted run goes on, and a finished run is left as it is.

    A step minimises  Σ_n w_n ℓ_n / B  over its batch of B examples (never divided by Σ w), so that "without unit u" can
    mean the same run with weight 0. The directory is a diffusers folder with the averaged weights, plus ``record/``
    (what every step saw), ``checkpoints/`` (raw weights), ``examples.parquet`` and ``config.toml``.

    Args:
        data: The training examples.
        path: The run directory.
        config: Settings of model and training.
        weights: Weight w_n in the loss by example id; 1 where absent.
        start: A model from whose weights training goes on as a new run, with moments of zero. It is not changed, and
            `config.model` does not matter. Default: new weights.
        conditions: Further arguments of the network of `start` by name, with one row for each training example.
        engine: Where work runs. Its report is called with (steps done, steps in all).
        patience: Seconds to wait for another writer of the same directory.

    Returns:
        The manifest.

    Raises:
        MismatchError, LockedError: The directory holds another run, or another process is writing it.
        ConfigError: A step does not fit into memory; the message names the batch that fits.
        DataError: Weights, pictures or conditions don't fit the data or `start`, or a weight is not finite.
        ModelError, NotFiniteError: No family is known for the network of `start`; the loss is not finite.
    """
    path, config, w = Path(path), _settings(Config.of(config), data, start), _weights(data, weights or {})
    _require_rows(data, conditions, start)
    inputs = {"data": data.fingerprint, "weights": artefacts.digest(dict(weights)) if weights else None}
    made = {"model": config.model.record(), "training": config.training.record()}
    if conditions:
        inputs["conditions"] = artefacts.digest(artefacts.tensor_digests(conditions))
    if start is not None:
        inputs["start"] = fingerprint(start)
        made["model"] = start.process.record()
    manifest = artefacts.existing(path, "model", inputs=inputs, made=made)
    if manifest is not None:
        engine.report(config.training.steps, config.training.steps)
        return manifest
    _require_memory(data, config, start, conditions, engine)
    facts: dict[str, Any] = {"examples": len(data), "device": str(engine.device), "data": data.digests}
    with artefacts.create(path, "model", inputs=inputs, made=made, facts=facts, patience=patience) as folder:
        artefacts.write_table(folder / "examples.parquet", {"id": list(data.ids), "weight": w})
        artefacts.write_bytes(folder / "config.toml", config.to_toml().encode())
        with one_thread():
            loop = Loop.start(data, w, config, folder, start, conditions, engine)
            loop.run(engine)
            facts |= loop.finish()
    return artefacts.read_manifest(path, "model")


def _settings(config: Config, data: Dataset, start: DiffusionModel | None) -> Config:
    """The settings with nothing left open that matters."""
    if start is None:
        return complete_config(config, data.size)
    family_of_network(start.network, "trained further")
    require_size(start, torch.from_numpy(data.pixels[:1]), "training images")
    return config.model_copy(update={"training": complete_training(config.training, data.size)})


def _require_rows(data: Dataset, conditions: Mapping[str, Tensor], start: DiffusionModel | None) -> None:
    if conditions and start is None:
        raise DataError(f"New networks take no conditions; {', '.join(conditions)} need a network of yours as `start`.")
    for name, tensor in conditions.items():
        if len(tensor) != len(data):
            raise DataError(f"There are {len(data)} training examples, but {len(tensor)} rows of {name!r}.")


def _weights(data: Dataset, weights: Mapping[str, float]) -> np.ndarray:
    """w_n of every example, float64 [N]."""
    w = np.ones(len(data))
    for name, value in weights.items():
        if not math.isfinite(value):
            raise DataError(f"The weight of training example {name!r} is {value}; it must be a finite number.")
        w[data.index_of(name)] = value
    return w


def training_cost(data: Dataset, config: Config, *, members: int = 1, engine: Engine = DEFAULT) -> Cost:
    """Cost of training some models: time by a few steps of one in this process, memory and disk by counting."""
    workers, config = engine.processes(members), complete_config(config, data.size)
    step, model = time_step(data, config)
    weights = weight_bytes(model)
    record = config.training.steps * config.training.batch * 17
    kept = members * (weights * (1 + min(config.training.checkpoints, config.training.steps)) + record)
    return Cost(
        seconds=-(-members // workers) * config.training.steps * step,
        memory=peak_memory() * workers,
        disk=kept + workers * 4 * weights + data.pixels.nbytes,
        work=f"{members} x {config.training.steps:,} steps of {step * 1000:.0f} ms, {weights // 4:,} parameters each, "
        f"in {counted(workers)}",
    )


def time_step(
    data: Dataset,
    config: Config,
    start: DiffusionModel | None = None,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
) -> tuple[float, DiffusionModel]:
    """Median time in seconds of a few training steps, with one thread, and the model that took them."""
    settings = complete_config(config, data.size) if start is None else config
    with _first_loop(data, settings, start, conditions) as loop:
        return median_seconds(loop.one_step, 5), loop.model


def _require_memory(
    data: Dataset, config: Config, start: DiffusionModel | None, conditions: Mapping[str, Tensor], engine: Engine
) -> None:
    """Check that a step fits into memory, where its batch is large."""
    if config.training.batch * data.pixels[0].size >= LARGE:
        with _first_loop(data, config, start, conditions, engine) as loop:
            loop.require_memory()


@contextmanager
def _first_loop(
    data: Dataset,
    config: Config,
    start: DiffusionModel | None,
    conditions: Mapping[str, Tensor],
    engine: Engine = DEFAULT,
) -> Iterator[Loop]:
    """Yield a training run before its first step, whose files are not kept."""
    with TemporaryDirectory() as scratch, one_thread():
        yield Loop.start(data, np.ones(len(data)), config, Path(scratch), start, conditions, engine)


def weight_bytes(model: DiffusionModel) -> int:
    """Return the bytes of a model's weights in float32."""
    return 4 * sum(p.numel() for p in model.network.parameters())
