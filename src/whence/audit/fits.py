"""How well a model fits examples: losses at draws that are the same whatever is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whence.attribution.target import Target
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine, staged
from whence.ensemble.losses import Losses
from whence.ensemble.make_losses import losses
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError, NoSurvivorsError
from whence.retraining.denoising_losses import example_losses
from whence.seeds import derived_seed

#: Draws of each example.
DRAWS = 64


class Fit(Protocol):
    """Losses of examples under a model."""

    def losses(self, examples: Examples, engine: Engine = DEFAULT) -> np.ndarray:
        """Return the mean loss of every example over the draws, float64 [N]; the report counts network evaluations."""

    def evaluations(self, examples: int) -> int:
        """Return how many network evaluations the losses of so many examples take."""


@dataclass(frozen=True)
class ModelFit:
    """Losses of a model, or the mean of those of several, as their weights say.

    Attributes:
        target: The model.
        count: Draws of each example.
        source: The draws.
    """

    target: Target
    count: int
    source: Draws

    @classmethod
    def of(cls, target: Target, count: int = DRAWS, seed: int = 0) -> ModelFit:
        """Return the losses at draws of each example's own, which depend on its id and the seed alone."""
        return cls(target, count, target.model.process.draws(derived_seed(seed, "audit")))

    def losses(self, examples: Examples, engine: Engine = DEFAULT) -> np.ndarray:
        """Return the mean loss of every example over the draws, float64 [N]."""
        total, checkpoints = np.zeros(len(examples)), self.target.checkpoints("model", examples.ids)
        for one, stage in zip(
            checkpoints, staged(engine, [len(examples) * self.count] * len(checkpoints)), strict=True
        ):
            total += one.weight * example_losses(one.checkpoint.open(), examples, self.source, self.count, stage)
        return total

    def first_losses(self, examples: Examples, engine: Engine = DEFAULT) -> np.ndarray | None:
        """Return the losses at the first checkpoint of a recorded run, float64 [N]; None where there is none."""
        try:
            kept = self.target.checkpoints("checkpoints", examples.ids) if len(self.target.runs) == 1 else []
        except ArtefactError:
            return None
        if len(kept) < 2:
            return None
        return example_losses(kept[0].checkpoint.open(), examples, self.source, self.count, engine)

    def evaluations(self, examples: int) -> int:
        """Return how many network evaluations the losses of so many examples take."""
        return examples * self.count * len(self.target.runs)


@dataclass(frozen=True)
class EnsembleFit:
    """Exact losses of an ensemble: of the mean prediction of all members, and without units.

    Attributes:
        ensemble: The ensemble.
        count: Draws of each example.
        seed: Seed of the draws.
    """

    ensemble: Ensemble
    count: int = DRAWS
    seed: int = 0

    def of_ablations(self, examples: Examples, engine: Engine = DEFAULT) -> Losses:
        """Return the losses without each unit; they are kept in the ensemble's folder."""
        return losses(self.ensemble, examples, examples.ids, draws=self.count, seed=self.seed, engine=engine)

    def losses(self, examples: Examples, engine: Engine = DEFAULT) -> np.ndarray:
        """Return the mean loss of every example over the draws, float64 [N]."""
        full: np.ndarray = self.of_ablations(examples, engine).full().numpy()
        return full

    def evaluations(self, examples: int) -> int:
        """Return how many network evaluations the losses of so many examples take."""
        return examples * self.count * self.ensemble.codebook.members

    def self_influence(self, examples: Examples, engine: Engine = DEFAULT) -> np.ndarray:
        """Return how much higher the loss of every training example is without its units, float64 [N].

        It is ℓ(members that never saw the units of n) - mean of ℓ over sets of as many members, and exact for this
        ensemble; NaN where every member saw one of the units.
        """
        found, data = self.of_ablations(examples, engine), self.ensemble.data
        units = dict(zip(data.ids, data.units, strict=True))
        own = np.full(len(examples), np.nan)
        for together in dict.fromkeys(units[name] for name in examples.ids):
            rows = [n for n, name in enumerate(examples.ids) if units[name] == together]
            try:
                own[rows] = found.influence(together)[rows].numpy()
            except NoSurvivorsError:
                continue
        return own
