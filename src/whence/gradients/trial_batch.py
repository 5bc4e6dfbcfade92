"""A batch of training examples at draws, on which a network is checked and measured before features are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from whence.diffusion.denoiser import on_device
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.readouts import outcome, readout
from whence.seeds import derived_seed


@dataclass(frozen=True, eq=False)
class TrialBatch:
    """Rows of examples at draws, on the device of a model.

    Attributes:
        model: The model.
        x: What is noised, [n, C, H, W].
        t: Timesteps, [n].
        noise: Noise, [n, C, H, W].
        conditions: Further arguments of the network, [n, ...] each.
    """

    model: DiffusionModel
    x: Tensor
    t: Tensor
    noise: Tensor
    conditions: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, model: DiffusionModel, examples: Examples, rows: np.ndarray, index: np.ndarray, seed: int
    ) -> TrialBatch:
        """Return the batch of some rows of examples of one shape at the draws of these indices."""
        source, device = OwnDraws(model.process.draws(derived_seed(seed, "shares"))), model.device
        t, noise = source([examples.ids[n] for n in rows], index, examples.size, device)
        return cls(model, examples.x(rows).to(device), t, noise, on_device(examples.conditions_of(rows), device))

    @property
    def x_t(self) -> Tensor:
        """The noised rows."""
        return self.model.process.noised(self.x, self.t, self.noise)

    def head(self, count: int) -> TrialBatch:
        """Return the first rows."""
        conditions = {name: value[:count] for name, value in self.conditions.items()}
        return TrialBatch(self.model, self.x[:count], self.t[:count], self.noise[:count], conditions)

    def cotangents(self, names: Sequence[str]) -> list[Callable[[Tensor], Tensor]]:
        """Return functions from the output to what is differentiated by each of these readouts."""
        return [partial(self._cotangent, name) for name in names]

    def _cotangent(self, name: str, output: Tensor) -> Tensor:
        return readout(name).cotangent(outcome(self.model, output, self.x, self.t, self.noise))
