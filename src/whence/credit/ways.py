"""Ways to a model of a coalition: a new one, or the full model trained on for a few steps on its examples alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from whence.config import Config, Settings
from whence.data import Dataset
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train
from whence.engine import Report
from whence.errors import ConfigError
from whence.evaluation.bank.retrain import PATIENCE, shortened

#: Steps of fine-tuning, as a share of those of the run.
SHARE = 0.05


class Way(Settings):
    """How the model of a coalition is made."""

    kind: Literal["fine-tuning", "retraining"] = Field(
        "fine-tuning",
        description="fine-tuning: the full model is trained on, for a few steps, on the coalition's examples alone, so "
        "that it forgets the others; retraining: a new model for as many visits of each example as in the run.",
    )
    steps: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Steps of fine-tuning; default a twentieth of those of the run."
    )
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Peak learning rate of fine-tuning; default that of the run."
    )
    pruned: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of the channels that are cut from the full model before it is fine-tuned."
    )

    @model_validator(mode="after")
    def _of_fine_tuning(self) -> Self:
        if self.kind == "retraining" and (self.steps or self.learning_rate or self.pruned):
            raise ConfigError(
                "Steps, a learning rate and pruning are of fine-tuning; retraining has the settings of the run."
            )
        return self

    def settings(self, config: Config, kept: int, examples: int, seed: int) -> Config:
        """Return the settings of the training on `kept` of so many examples.

        Example:
            >>> Way().settings(Config(), kept=250, examples=500, seed=7).training.steps
            50
            >>> Way(kind="retraining").settings(Config(), kept=250, examples=500, seed=7).training.steps
            500
        """
        config = config.updated("training", seed=seed, checkpoints=0)
        if self.kind == "retraining":
            return config if kept == examples else shortened(config, kept, examples)
        steps = self.steps or max(1, round(SHARE * config.training.steps))
        rate = self.learning_rate or config.training.learning_rate
        return config.updated(
            "training", steps=steps, learning_rate=rate, warmup=min(config.training.warmup, steps // 10)
        )

    def model(self, path: Path, data: Dataset, start: DiffusionModel, config: Config, report: Report) -> DiffusionModel:
        """Return the model of a coalition, trained in `path`; killed, it goes on.

        Args:
            path: Where it is trained.
            data: The coalition's examples.
            start: The model that fine-tuning goes on from; retraining takes its kind of network.
            config: Settings of the run and of this training; see `settings`.
            report: Called with (steps done, steps in all).
        """
        begun = start if self.kind == "fine-tuning" else start.untrained(config.training.seed)
        train(data, path, config, start=begun, report=report, patience=PATIENCE)
        return DiffusionModel.load(path)

    @property
    def words(self) -> str:
        """What it is, for people."""
        if self.kind == "retraining":
            return "a new model trained on the pictures of the set alone, with as many visits of each picture"
        cut = f", after {self.pruned:.0%} of its channels were cut" if self.pruned else ""
        return f"the full model{cut}, trained on for a few steps on the pictures of the set alone (an estimate)"
