"""The steps of a training run, and the saves from which a killed run goes on to the same weights.

Batches, draws, flips and dropout are pure functions of the seed and the step. So the weights after the next step are a
function of the weights, the optimiser's moments and the step. A save holds nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from whence import artefacts
from whence.config import Config, TrainingConfig
from whence.data import Dataset
from whence.diffusion.checks import require_finite
from whence.diffusion.denoiser import NO_CONDITIONS, on_device
from whence.diffusion.draws import Batches, Draws, flips
from whence.diffusion.memory import require_memory
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Recorder
from whence.engine import DEFAULT, Engine
from whence.errors import NotFiniteError
from whence.seeds import derived_seed


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then half a cosine down to 0.

    Example:
        >>> config = TrainingConfig(steps=100, warmup=10, learning_rate=1.0, checkpoints=0)
        >>> [round(learning_rate(config, step), 2) for step in (0, 9, 55, 99)]
        [0.1, 1.0, 0.5, 0.0]
    """
    peak = config.learning_rate or 0.0
    if step < config.warmup:
        return peak * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))


def checkpoint_steps(config: TrainingConfig) -> list[int]:
    """Steps after which the raw weights are kept, evenly spread, the last one included."""
    count = min(config.checkpoints, config.steps)
    return [config.steps * (k + 1) // count for k in range(count)]


@dataclass
class Loop:
    """A training run in progress."""

    data: Dataset
    weights: Tensor
    config: TrainingConfig
    folder: Path
    model: DiffusionModel
    optimiser: torch.optim.AdamW
    ema: EMAModel
    step: int
    recorder: Recorder
    conditions: Mapping[str, Tensor]

    @cached_property
    def dropout(self) -> bool:
        """Whether the network has dropout."""
        layers = self.model.network.modules()
        return any(layer.p > 0 for layer in layers if isinstance(layer, torch.nn.Dropout))

    @cached_property
    def batches(self) -> Batches:
        """Which examples each step sees."""
        return Batches(self.data.ids, self.config.batch, self.config.seed)

    @cached_property
    def draws(self) -> Draws:
        """The timestep and noise of each visit."""
        config = self.config
        return self.model.process.draws(config.seed, shared=config.shared_noise, antithetic=config.antithetic)

    @classmethod
    def start(
        cls,
        data: Dataset,
        weights: np.ndarray,
        config: Config,
        folder: Path,
        start: DiffusionModel | None = None,
        conditions: Mapping[str, Tensor] = NO_CONDITIONS,
        engine: Engine = DEFAULT,
    ) -> Loop:
        """A new run, from new weights or those of another model, or the interrupted one whose save is in `folder`."""
        training = config.training
        model = copy.deepcopy(start) if start else DiffusionModel.new(config.model, data.size, training.seed)
        model.network.to(engine.device).float().train().requires_grad_(True)
        parameters = list(model.network.parameters())
        optimiser = torch.optim.AdamW(parameters, betas=training.betas, weight_decay=training.weight_decay, fused=True)
        ema = EMAModel(parameters, decay=training.ema, foreach=True)
        w = torch.from_numpy(weights).float().to(engine.device)
        loop = cls(data, w, training, folder, model, optimiser, ema, 0, Recorder(folder), conditions)
        loop._restore()
        return loop

    def require_memory(self) -> None:
        """Check that a step fits into memory; a `ConfigError` names the batch that fits."""
        later = 2 * sum(p.numel() * p.element_size() for p in self.model.network.parameters())
        require_memory(self._first_losses, self.config.batch, later, self.model.device)
        self.optimiser.zero_grad()

    def run(self, engine: Engine) -> None:
        """Train from the current step to the last, saving on the way."""
        keep = set(checkpoint_steps(self.config))
        engine.report(self.step, self.config.steps)
        while self.step < self.config.steps:
            self.one_step()
            if self.step in keep:
                self._checkpoint()
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self._save()
            engine.report(self.step, self.config.steps)

    def finish(self) -> dict[str, Any]:
        """Write the diffusers folder; returns what the manifest should state."""
        self.ema.copy_to(self.model.network.parameters())
        self.model.network.eval().cpu()
        self.model.save(self.folder)
        return {"parameters": sum(p.numel() for p in self.model.network.parameters())}

    def one_step(self) -> None:
        """One optimiser step; a `NotFiniteError` if the loss is NaN or infinite."""
        rows, visits = self.batches(self.step)
        ids = [self.data.ids[row] for row in rows]
        x = self.model.codec.encode(torch.from_numpy(self.data.pixels[rows]))
        flipped = flips(self.config.seed, ids, visits) if self.config.flip else np.zeros(len(ids), bool)
        x[flipped] = x[flipped].flip(-1)
        t, noise = self.draws(ids, visits, x.shape[1:])
        conditions = {name: tensor[torch.from_numpy(rows)] for name, tensor in self.conditions.items()}
        losses = self._losses(x, t, noise, ids, conditions)
        loss = (self.weights[torch.from_numpy(rows)] * losses).sum() / len(rows)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self._clip(ids)
        rate = learning_rate(self.config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.ema.step(self.model.network.parameters())
        self.recorder.add(rows, visits, t, flipped, losses.detach().cpu(), rate)
        self.step += 1

    def _first_losses(self, count: int) -> Tensor:
        """Losses of the first examples of the next step, [count]."""
        rows, visits = (values[:count] for values in self.batches(self.step))
        ids = [self.data.ids[row] for row in rows]
        x = self.model.codec.encode(torch.from_numpy(self.data.pixels[rows]))
        t, noise = self.draws(ids, visits, x.shape[1:])
        conditions = {name: tensor[torch.from_numpy(rows)] for name, tensor in self.conditions.items()}
        return self._losses(x, t, noise, ids, conditions)

    def _losses(self, x: Tensor, t: Tensor, noise: Tensor, ids: list[str], conditions: Mapping[str, Tensor]) -> Tensor:
        """Losses of the step's batch, [B]; dropout, if the network has any, is a function of seed and step."""
        config, device = self.config, self.model.device
        with (
            torch.random.fork_rng(enabled=self.dropout),
            torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"),
        ):
            if self.dropout:
                torch.manual_seed(derived_seed(config.seed, f"dropout {self.step}"))
            losses = self.model.loss(x.to(device), t.to(device), noise.to(device), **on_device(conditions, device))
            if not torch.isfinite(losses).all():
                require_finite(self.model, x, t, noise, ids, f"training step {self.step}", conditions)
        return losses

    def _clip(self, ids: list[str]) -> None:
        """Clip the gradient, which must be finite."""
        parameters = dict(self.model.network.named_parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), self.config.clip_norm)
        if not torch.isfinite(norm):
            bad = [name for name, p in parameters.items() if p.grad is not None and not torch.isfinite(p.grad).all()]
            raise NotFiniteError(
                f"The gradient of {bad[0] if bad else 'all weights together'} is not finite in training step "
                f"{self.step} ({len(ids)} examples from {ids[0]} on). A lower training.learning_rate usually helps."
            )

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by its name in the save; valid once the optimiser has its moments."""
        parameters = dict(self.model.network.named_parameters())
        tensors = {f"weights/{name}": parameter.data for name, parameter in parameters.items()}
        for (name, parameter), shadow in zip(parameters.items(), self.ema.shadow_params, strict=True):
            tensors[f"ema/{name}"] = shadow
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{moment}/{name}"] = self.optimiser.state[parameter][moment]
        return tensors

    def _save(self) -> None:
        """Save the state; a kill on the way leaves the last save in force."""
        self.recorder.write(self.step)
        artefacts.write_state(self.folder, self.step, self._tensors())

    def _restore(self) -> None:
        """Go on from the last save; without one, or if it is damaged, the run starts again."""
        state = artefacts.read_state(self.folder)
        if state is None:
            return
        self.step, saved = state
        self.recorder.first = self.step
        for parameter in self.model.network.parameters():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(self.step), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        for name, tensor in self._tensors().items():
            tensor.copy_(saved[name])
        self.ema.optimization_step = self.step

    def _checkpoint(self) -> None:
        tensors = {f"weights/{name}": p.data for name, p in self.model.network.named_parameters()}
        rate = torch.tensor(learning_rate(self.config, self.step - 1), dtype=torch.float64)
        file = self.folder / "checkpoints" / f"{self.step:08d}.safetensors"
        artefacts.write_tensors(file, tensors | {"step": torch.tensor(self.step), "learning_rate": rate})
