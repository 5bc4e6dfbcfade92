"""How a model without some examples is made: trained anew, trained with weight 0 for the others, or fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from whence.config import Config, Settings
from whence.data import Dataset
from whence.diffusion.adapter_run import load_run
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError

#: Seconds to wait for a worker of an interrupted run, which ends when it notices that its parent is gone.
PATIENCE = 60.0
#: Steps of fine-tuning, as a share of the steps of the run.
FINE_TUNING = 0.05
#: No folders beside the data.
NO_PARTS: Mapping[str, Any] = MappingProxyType({})


class RetrainingRule(Settings):
    """How a model without some of the training examples is made."""

    kind: Literal["fine-tuning", "retraining", "weight 0"] = Field(
        "fine-tuning",
        description="fine-tuning: the full model is trained for a few more steps on the kept examples alone, so that "
        "it forgets the others; retraining: a new model is trained on the kept examples, with as many visits of each "
        "as in the run; weight 0: the run is repeated on all examples, and the others have weight 0 in the loss.",
    )
    steps: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Steps of fine-tuning; default a twentieth of those of the run."
    )
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Peak learning rate of fine-tuning; default that of the run."
    )
    pruned: float = Field(0.0, description="Always 0: channels are no longer cut; manifests keep the entry.")

    @model_validator(mode="after")
    def _require_fitting(self) -> Self:
        if self.pruned:
            raise ConfigError(
                f"Whence no longer cuts channels before fine-tuning, and this study was begun with pruned = "
                f"{self.pruned}: begin a new study in another folder, without --prune."
            )
        if self.kind != "fine-tuning" and (self.steps or self.learning_rate):
            raise ConfigError("Steps and a learning rate are for fine-tuning; retraining has the settings of the run.")
        return self

    def settings(self, config: Config, kept: int, examples: int, seed: int) -> Config:
        """Return the settings of the training on `kept` of so many examples.

        Example:
            >>> RetrainingRule().settings(Config(), kept=250, examples=500, seed=7).training.steps
            50
        """
        config = config.updated("training", seed=seed, checkpoints=0)
        if self.kind == "retraining" and kept < examples:
            return shorten_training(config, kept, examples)
        if self.kind != "fine-tuning":
            return config
        steps = self.steps or max(1, round(FINE_TUNING * config.training.steps))
        rate = self.learning_rate or config.training.learning_rate
        return config.updated(
            "training", steps=steps, learning_rate=rate, warmup=min(config.training.warmup, steps // 10)
        )

    def train(
        self,
        data: Dataset,
        rows: np.ndarray,
        path: Path,
        config: Config,
        *,
        start: DiffusionModel | None = None,
        parts: Mapping[str, Any] = NO_PARTS,
        engine: Engine = DEFAULT,
    ) -> DiffusionModel:
        """Return the model, trained at `path` on these rows by its `settings`; an interrupted training continues.

        Fine-tuning starts from `start`. Retraining makes a new network of its kind, or without it one of the kind in
        `config`; `parts` are further folders for `train`, such as the base of an adapter. The report is called with
        (steps done, steps in all).
        """
        weights, network = None, start
        if self.kind == "weight 0":
            weights = {data.ids[n]: 0.0 for n in np.setdiff1d(np.arange(len(data)), rows)} or None
        else:
            data = data.select(rows)
        if start is not None and self.kind != "fine-tuning":
            network = start.untrained(config.training.seed)
        train(data, path, config, weights=weights, start=network, engine=engine, patience=PATIENCE, **parts)
        return load_run(path, parts.get("base"))

    @property
    def description(self) -> str:
        """The rule in words, for pages."""
        return {
            "fine-tuning": "the full model, trained on for a few steps on the pictures of the set alone (an estimate)",
            "retraining": "a new model trained on the pictures of the set alone, with as many visits of each picture",
            "weight 0": "the run of the full model, with weight 0 for the pictures outside of the set",
        }[self.kind]


def shorten_training(config: Config, kept: int, examples: int) -> Config:
    """Return the settings of a training on `kept` of so many examples, with as many visits of each."""
    steps = max(1, round(config.training.steps * kept / examples))
    return config.updated("training", steps=steps, warmup=min(config.training.warmup, steps // 2))
