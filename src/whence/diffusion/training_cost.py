"""What training will cost, before paying: time by measuring a few steps, memory and disk by counting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch
from torch import Tensor

from whence.config import Config
from whence.cost import Cost, counted, median_seconds
from whence.data import Dataset
from whence.diffusion.denoiser import NO_CONDITIONS
from whence.diffusion.loop import Loop
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sizes import complete_config
from whence.engine import DEFAULT, Engine, one_thread


def training_cost(data: Dataset, config: Config, *, members: int = 1, engine: Engine = DEFAULT) -> Cost:
    """Cost of training `members` models, measured on a few steps of one.

    Args:
        data: The training examples.
        config: Settings of every model.
        members: Models to train.
        engine: Where work runs.

    Returns:
        The cost. The steps are measured with one thread in this process, with no other work beside them.
    """
    workers, config = engine.processes(members), complete_config(config, data.size)
    step, model = time_step(data, config)
    weights = weight_bytes(model)
    rounds = -(-members // workers)
    record = config.training.steps * config.training.batch_size * 17
    kept = members * (weights * (1 + config.training.checkpoints) + record)
    return Cost(
        seconds=rounds * config.training.steps * step,
        memory=psutil.Process().memory_info().rss * workers,
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
    """Return the median time of a training step in seconds, over a few steps, and the model that took them.

    Args:
        data: The training examples.
        config: Settings of the model and its training.
        start: The model that training goes on from; `config.model` then does not matter.
        conditions: As in `train`.
    """
    settings = complete_config(config, data.size) if start is None else config
    with TemporaryDirectory() as scratch, one_thread():
        loop = Loop.start(data, torch.ones(len(data)).numpy(), settings, Path(scratch), start, conditions)
        return median_seconds(loop.one_step, 5), loop.model


def weight_bytes(model: DiffusionModel) -> int:
    """Return the bytes of a model's weights in float32."""
    return 4 * sum(p.numel() for p in model.network.parameters())
