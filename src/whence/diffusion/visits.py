"""Visits: what each step of a training run sees, as a pure function of the settings and the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from whence.config import TrainingConfig
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.denoiser import on_device
from whence.diffusion.draws import Batches
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import CPU
from whence.diffusion.process import Process
from whence.ragged import Ragged, groups_of, join_groups


@dataclass(frozen=True, eq=False)
class Visits:
    """The visits of examples in a step's batch of B.

    Attributes:
        rows: Rows of the examples, int64 [B].
        counts: How often each was visited before, int64 [B].
        ids: Ids of the examples.
        x: What is noised, float32 [B, ...], or `Ragged` of several shapes.
        t: Timesteps, int64 [B].
        noise: Noise, float32 [B, ...]; as `x`.
        conditions: Further arguments of the network, [B, ...] each.
        flipped: Whether the mirror image is seen, bool [B].
        dropped: Whether the caption is left out, bool [B]; None without caption dropout.
    """

    rows: np.ndarray
    counts: np.ndarray
    ids: list[str]
    x: Tensor | Ragged
    t: Tensor
    noise: Tensor | Ragged
    conditions: Mapping[str, Tensor]
    flipped: np.ndarray
    dropped: np.ndarray | None = None

    def losses(self, model: DiffusionModel) -> Tensor:
        """Return the loss of each visit on the device of a model, [B], in the precision of its weights.

        Visits of one shape are a batch; those of several are a batch for each shape.
        """
        return _joined([visits._losses(model) for visits in self.by_shape()], groups_of(self.x))

    def by_shape(self) -> list[Visits]:
        """Return the visits of each shape; all of them where there is one."""
        groups = groups_of(self.x)
        return [self] if len(groups) == 1 else [self._of(group) for group in groups]

    def _of(self, group: np.ndarray) -> Visits:
        """Some of the visits."""
        return Visits(
            self.rows[group],
            self.counts[group],
            [self.ids[n] for n in group],
            self.x[group],
            self.t[group],
            self.noise[group],
            {name: condition[group] for name, condition in self.conditions.items()},
            self.flipped[group],
            None if self.dropped is None else self.dropped[group],
        )

    @property
    def noised(self) -> tuple[Tensor, Tensor, Tensor]:
        """What is noised, timesteps and noise of visits of one shape."""
        assert isinstance(self.x, Tensor)
        assert isinstance(self.noise, Tensor)
        return self.x, self.t, self.noise

    def _losses(self, model: DiffusionModel) -> Tensor:
        """The losses of visits of one shape."""
        device, dtype = model.device, next(model.network.parameters()).dtype
        x, t, noise = self.noised
        conditions = on_device(self.conditions, device)
        conditions = {name: c.to(dtype) if c.is_floating_point() else c for name, c in conditions.items()}
        return model.loss(x.to(device, dtype), t.to(device), noise.to(device, dtype), **conditions)


@dataclass(frozen=True, eq=False)
class VisitSource:
    """Gives the visits of every step of a training run.

    Attributes:
        examples: The training examples.
        config: Settings of the training.
        process: The process of the model.
        captions: The caption dropout, if there is any.
        device: Where timesteps and noise are made.

    Example:
        >>> import torch
        >>> from diffusers import DDPMScheduler
        >>> from whence.diffusion.variance_preserving import VariancePreserving
        >>> examples = Examples(("a", "b", "c"), torch.zeros(3, 1, 2, 2))
        >>> source = VisitSource(examples, TrainingConfig(batch_size=2), VariancePreserving(DDPMScheduler()))
        >>> sorted(source(0).ids + source(1).ids[:1]), source(1).counts.tolist()
        (['a', 'b', 'c'], [0, 1])
    """

    examples: Examples
    config: TrainingConfig
    process: Process
    captions: CaptionDropout | None = None
    device: torch.device = CPU

    @cached_property
    def _batches(self) -> Batches:
        return Batches(self.examples.ids, self.config.batch, self.config.seed)

    def __call__(self, step: int, most: int | None = None) -> Visits:
        """Return the visits of a step, or the first of them, at most so many."""
        rows, counts = (values[:most] for values in self._batches(step))
        ids, config = [self.examples.ids[row] for row in rows], self.config
        augmentation, conditions, dropped = Augmentation.of(config), self.examples.conditions_of(rows), None
        flipped = augmentation.flips(ids, counts)
        if self.captions is not None:
            dropped = self.captions.drops(ids, counts)
            conditions = self.captions.apply(conditions, dropped)
        draws = self.process.draws(config.seed, shared=config.shared_noise, antithetic=config.antithetic)
        groups = self.examples.groups(rows)
        xs = [augmentation.x(self.examples, rows[group], counts[group]) for group in groups]
        drawn = [
            draws([ids[n] for n in group], counts[group], x.shape[1:], self.device)
            for group, x in zip(groups, xs, strict=True)
        ]
        x, noise = join_groups(xs, groups), join_groups([noise for _, noise in drawn], groups)
        return Visits(rows, counts, ids, x, _joined([t for t, _ in drawn], groups), noise, conditions, flipped, dropped)


def _joined(parts: Sequence[Tensor], groups: Sequence[np.ndarray]) -> Tensor:
    """Return one number for each visit, from those of each shape and the positions of these."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat(list(parts))[torch.from_numpy(np.argsort(np.concatenate(groups)))]
