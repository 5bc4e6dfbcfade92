"""The settings of a run: small frozen records, one sentence per field, checked when made; kept in ``config.toml``."""

from __future__ import annotations

import re
import tomllib
from operator import not_
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, field_validator

from whence.errors import ConfigError
from whence.process_config import ProcessConfig
from whence.settings import Settings

Count = Annotated[int, Field(ge=1, strict=True)]
#: What a network of latents is trained on: the mean of the autoencoder's posterior, or a sample of it at each visit.
LatentChoice = Literal["mode", "sample"]
#: How pictures are drawn: euler by flows, the others by variance preserving processes.
SamplerMethod = Literal["ddpm", "ddim", "euler"]
#: Largest number of timesteps of a diffusion process: tables of all of them are kept.
TIMESTEPS = 100_000
#: Settings of a training by the name of a recipe; metasmooth: its metagradient predicts small removals.
RECIPES: dict[str, dict[str, Any]] = {
    "metasmooth": {"steps": 500, "batch_size": 64, "learning_rate": 1e-3, "clip_norm": 0.0}
}


class ModelConfig(Settings):
    """The denoiser and its diffusion process."""

    channels: Annotated[tuple[Count, ...], Field(min_length=1)] | None = Field(
        None,
        description="Channels of each level of the UNet; each level halves the side. Default: by image size.",
    )
    layers: Count = Field(1, description="Residual blocks per level.")
    attention: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Largest side of a feature map that gets self-attention; 0 for none. Default: by size.",
    )
    groups: Count = Field(8, description="Groups of the group normalisations.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Dropout in the residual blocks.")
    prediction: Literal["epsilon", "v_prediction", "sample", "flow_prediction"] = Field(
        "v_prediction",
        description="What the network predicts: the noise, the velocity or the clean picture; or the velocity of a "
        "flow, whose settings are in the section process.",
    )
    timesteps: Annotated[int, Field(ge=2, le=TIMESTEPS)] = Field(
        1000, description="Timesteps T of the diffusion process."
    )
    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"] = Field(
        "squaredcos_cap_v2", description="Noise schedule, by its name in diffusers; a flow has none."
    )

    @property
    def is_flow(self) -> bool:
        """Whether the process is flow matching."""
        return self.prediction == "flow_prediction"


class TrainingConfig(Settings):
    """The training loop."""

    steps: Count = Field(1000, description="Optimiser steps.")
    batch_size: Count | None = Field(
        None, description="Examples per step; part of what the weights depend on. Default: by image size."
    )
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Peak learning rate of AdamW. Default: by image size."
    )
    warmup: Annotated[int, Field(ge=0)] = Field(50, description="Steps of linear warm-up before the cosine decay.")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.99), description="AdamW's averaging constants."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-6, description="AdamW's weight decay.")
    epsilon: Annotated[float, Field(gt=0)] = Field(
        1e-8,
        exclude_if=lambda value: value == 1e-8,
        description="ε that AdamW adds to the root of its second moment.",
    )
    clip_norm: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Largest norm of a step's gradient; 0 for no limit."
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(0.99, description="Decay of the averaged weights.")
    flip: bool = Field(False, description="Flip each visit's image left to right with probability 1/2; recorded.")
    latents: LatentChoice = Field(
        "mode",
        exclude_if=lambda value: value == "mode",
        description="mode: latents are the mean of the autoencoder's posterior; sample: they are drawn at each visit.",
    )
    caption_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, exclude_if=not_, description="Probability that a visit of an image has the empty caption; recorded."
    )
    antithetic: bool = Field(False, description="Visits 2k and 2k+1 of an example get opposite noise.")
    shared_noise: bool = Field(False, description="All examples share the draws of their k-th visit.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the forward pass (bfloat16: autocast)."
    )
    checkpoints: Annotated[int, Field(ge=0)] = Field(
        4, description="Raw weights kept after at most this many steps, evenly."
    )
    save_every: Count = Field(100, description="Steps between saves that an interrupted run continues from.")
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = Field(
        0, description="Seed of weights, order, draws and augmentation."
    )

    @property
    def batch(self) -> int:
        """Examples per step, of settings with nothing left open."""
        if self.batch_size is None:
            raise ConfigError("training.batch_size is open. Complete the settings for a size of images first.")
        return self.batch_size


class AdapterConfig(Settings):
    """A LoRA adapter that is trained on a base."""

    rank: Count = Field(16, description="Rank r of the change ΔW = α / r · B A of each layer.")
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="α, which ΔW is in proportion to. Default: the rank, so that ΔW = B A."
    )
    target: str = Field(
        r"\.to_(q|k|v|out\.0)$",
        description="Layers that it changes: a regular expression in their names. Default: projections of attention.",
    )
    resolution: Count | None = Field(
        None, description="Height and width of the images. Default: those in the configuration of the base."
    )
    freeze_a: bool = Field(False, description="Train B alone; A is random, and the same in every run.")
    start: int | None = Field(None, description="Seed of A at the start. Default: that of the training.")
    classes: dict[str, Annotated[int, Field(ge=0)]] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Labels of the base by the names of classes; the empty name is no class. Default: those that the "
        "base states.",
    )

    @field_validator("target")
    @classmethod
    def _require_expression(cls, target: str) -> str:
        try:
            re.compile(target)
        except re.error as error:
            raise ValueError(f"no regular expression, {error}") from None
        return target

    @property
    def scale(self) -> float:
        """The factor α / r of B A."""
        return (self.alpha or self.rank) / self.rank


class SamplerConfig(Settings):
    """How pictures are drawn."""

    method: SamplerMethod = Field(
        "ddpm",
        description="ddpm: ancestral sampling, with noise at each step; ddim: noise only at the start; euler: that of "
        "flows.",
    )
    steps: Count = Field(50, description="Denoising steps, spread over the timesteps of training.")
    clip: bool = Field(True, description="Clip the predicted clean picture to [-1, 1] at every step.")
    batch_size: Count = Field(16, description="Canonical batch; part of what the pixels' last bits depend on.")

    @property
    def said(self) -> set[str]:
        """Names of the settings that are given; none in a file that states every default."""
        every = self.model_fields_set == set(type(self).model_fields)
        return set() if every and self == SamplerConfig() else set(self.model_fields_set)


class Config(Settings):
    """All settings of a run; those of an adapter are only there for a run that trains one.

    Those of the process are only there where they are not those of the diffusers trainer of the family.
    """

    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    sampler: SamplerConfig = SamplerConfig()
    adapter: AdapterConfig | None = None
    process: ProcessConfig | None = None

    def record(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        return self.model_dump(mode="json", exclude={n for n in ("adapter", "process") if getattr(self, n) is None})

    def to_toml(self) -> str:
        """The settings as TOML; fields left to their default of "by size" are absent."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def updated(self, section: str, **values: Any) -> Self:
        """Return a copy with some settings of one section replaced; None leaves a setting as it is.

        Example:
            >>> Config().updated("training", steps=10, checkpoints=None).training.steps
            10
        """
        changed = {name: value for name, value in values.items() if value is not None}
        fields = self.model_dump(exclude_unset=True)  # what is not said stays so, for what completes it
        fields[section] = (fields.get(section) or {}) | changed
        return type(self)(**fields)


def read_config(path: Path | None) -> Config:
    """Return the settings from a TOML file; None gives the defaults.

    Raises:
        ConfigError: The file is missing, is not TOML, or a setting in it is wrong.

    Example:
        >>> read_config(None).training.steps
        1000
    """
    if path is None:
        return Config()
    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"The configuration file {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not a readable TOML file: {error}.") from None
    try:
        return Config(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
