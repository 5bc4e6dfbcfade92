"""The steps of a training run, and the saves from which a killed run goes on to the same weights.

Batches, draws, flips and dropout are pure functions of the seed and the step. So the weights after the next step are a
function of the weights, the optimiser's moments and the step. A save holds nothing else. The weights are those that
require a gradient: all of a network, or those of its adapter alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from whence import artefacts
from whence.config import TrainingConfig
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.checks import require_finite
from whence.diffusion.examples import Examples
from whence.diffusion.memory import require_memory
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Recorder
from whence.diffusion.visits import Visits, VisitSource
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

    examples: Examples
    weights: Tensor
    config: TrainingConfig
    folder: Path
    model: DiffusionModel
    parameters: Mapping[str, torch.nn.Parameter]
    optimiser: torch.optim.AdamW
    ema: EMAModel
    step: int
    recorder: Recorder
    captions: CaptionDropout | None = None

    @cached_property
    def dropout(self) -> bool:
        """Whether the network has dropout."""
        layers = self.model.network.modules()
        return any(layer.p > 0 for layer in layers if isinstance(layer, torch.nn.Dropout))

    @property
    def size(self) -> int:
        """Number of weights that are trained."""
        return sum(p.numel() for p in self.parameters.values())

    @cached_property
    def visits(self) -> VisitSource:
        """What each step sees."""
        return VisitSource(self.examples, self.config, self.model.process, self.captions, self.model.device)

    @classmethod
    def start(
        cls,
        examples: Examples,
        weights: Sequence[float] | np.ndarray,
        config: TrainingConfig,
        folder: Path,
        model: DiffusionModel,
        captions: CaptionDropout | None = None,
        engine: Engine = DEFAULT,
    ) -> Loop:
        """A new run from a model, which it changes, or the interrupted one whose save is in `folder`."""
        model.network.to(engine.device).float().train()
        parameters = {name: p for name, p in model.network.named_parameters() if p.requires_grad}
        trained = list(parameters.values())
        optimiser = torch.optim.AdamW(
            trained, betas=config.betas, eps=config.epsilon, weight_decay=config.weight_decay, fused=True
        )
        ema = EMAModel(trained, decay=config.ema, foreach=True)
        w, recorder = torch.tensor(weights).float().to(engine.device), Recorder(folder)
        loop = cls(examples, w, config, folder, model, parameters, optimiser, ema, 0, recorder, captions)
        loop._restore()
        return loop

    def require_memory(self) -> None:
        """Check that a step fits into memory; a `ConfigError` names the batch that fits."""
        later = 2 * sum(p.numel() * p.element_size() for p in self.parameters.values())
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

    def averaged(self) -> DiffusionModel:
        """The model with the averaged weights, on the CPU and in eval mode; the run ends with it."""
        self.ema.copy_to(self.parameters.values())
        self.model.network.eval().cpu()
        return self.model

    def one_step(self) -> None:
        """One optimiser step; a `NotFiniteError` if the loss is NaN or infinite."""
        visits = self.visits(self.step)
        losses = self._losses(visits)
        loss = (self.weights[torch.from_numpy(visits.rows)] * losses).sum() / len(losses)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self._clip(visits.ids)
        rate = learning_rate(self.config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.ema.step(self.parameters.values())
        self.recorder.add(visits, losses.detach().cpu(), rate)
        self.step += 1

    def _first_losses(self, count: int) -> Tensor:
        """Losses of the first examples of the next step, [count]."""
        return self._losses(self.visits(self.step, count))

    def _losses(self, visits: Visits) -> Tensor:
        """Losses of the step's batch, [B]; dropout, if the network has any, is a function of seed and step."""
        config, device = self.config, self.model.device
        with (
            torch.random.fork_rng(enabled=self.dropout),
            torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"),
        ):
            if self.dropout:
                torch.manual_seed(derived_seed(config.seed, f"dropout {self.step}"))
            losses = visits.losses(self.model)
            if not torch.isfinite(losses).all():
                where = f"training step {self.step}"
                for one in visits.by_shape():
                    require_finite(self.model, *one.noised, one.ids, where, one.conditions)
        return losses

    def _clip(self, ids: list[str]) -> None:
        """Clip the gradient, which must be finite."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm or math.inf)
        if not torch.isfinite(norm):
            bad = [
                name for name, p in self.parameters.items() if p.grad is not None and not torch.isfinite(p.grad).all()
            ]
            raise NotFiniteError(
                f"The gradient of {bad[0] if bad else 'all weights together'} is not finite in training step "
                f"{self.step} ({len(ids)} examples from {ids[0]} on). A lower training.learning_rate usually helps."
            )

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by its name in the save; valid once the optimiser has its moments."""
        tensors = {f"weights/{name}": parameter.data for name, parameter in self.parameters.items()}
        for (name, parameter), shadow in zip(self.parameters.items(), self.ema.shadow_params, strict=True):
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
        for parameter in self.parameters.values():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(self.step), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        for name, tensor in self._tensors().items():
            tensor.copy_(saved[name])
        self.ema.optimization_step = self.step

    def _checkpoint(self) -> None:
        tensors = {f"weights/{name}": p.data for name, p in self.parameters.items()}
        rate = torch.tensor(learning_rate(self.config, self.step - 1), dtype=torch.float64)
        file = self.folder / "checkpoints" / f"{self.step:08d}.safetensors"
        artefacts.write_tensors(file, tensors | {"step": torch.tensor(self.step), "learning_rate": rate})
