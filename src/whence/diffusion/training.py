"""Training one diffusion model: recorded, resumable to the last bit, with per-example weights.

Step s minimises  Σ_n w_n ℓ_n / B  over its batch of B examples (never divided by Σ w), so that
"without unit u" can mean the same run with weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.denoiser import NO_CONDITIONS
from whence.diffusion.families.family import family_of_network
from whence.diffusion.loop import Loop
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.ranges import require_size
from whence.diffusion.sizes import complete_config, complete_training
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

    The directory is a diffusers folder with the averaged weights, plus ``record/`` (what every step saw),
    ``checkpoints/`` (raw weights with their step and learning rate), ``examples.parquet`` and ``config.toml``.

    Args:
        data: The training examples.
        path: The run directory.
        config: Settings; `config.model` and `config.training` matter here.
        weights: Weight w_n in the loss by example id; 1 where absent.
        start: A model from whose weights training goes on, with moments of zero and the step count of a new run. It is
            not changed, and `config.model` does not matter. Default: new weights.
        conditions: Further arguments of the network of `start` by name, with one row for each training example.
        engine: Where work runs. Its report is called with (steps done, steps in all).
        patience: Seconds to wait for another writer of the same directory.

    Returns:
        The manifest of the run.

    Raises:
        MismatchError: The directory holds a run on other data or with other settings.
        LockedError: Another process is writing the directory.
        DataError: `weights` names an example that is not in the data, or a weight is not finite; the pictures have
            another size than those of `start`; or there are conditions without `start`, or with another number of rows.
        ModelError: No family is known for the network of `start`.
        NotFiniteError: The loss became NaN or infinite.
    """
    path, config, w = Path(path), _settings(config or Config(), data, start), _weights(data, weights or {})
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
    facts: dict[str, Any] = {"examples": len(data), "device": str(engine.device)}
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
