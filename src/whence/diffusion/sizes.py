"""Default settings by the size of the images, for those that the user left open."""

from __future__ import annotations

from typing import NamedTuple

from whence.config import Config, ModelConfig, TrainingConfig
from whence.errors import ConfigError


class SizeDefaults(NamedTuple):
    """Defaults for images up to a side: channels per level, largest side with attention, learning rate."""

    side: int
    channels: tuple[int, ...]
    attention: int
    learning_rate: float


#: Few channels at full resolution, where a convolution costs most, leave time for larger batches: on 8x8 digits, at
#: equal time, (16, 64) on batches of 128 draws clearer digits than (32, 64) on batches of 64.
SIZES = (
    SizeDefaults(8, (16, 64), 0, 4e-3),
    SizeDefaults(16, (32, 64, 64), 0, 2e-3),
    SizeDefaults(32, (64, 128, 128), 8, 5e-4),
    SizeDefaults(64, (64, 128, 192, 256), 8, 2e-4),
)


def complete_model(config: ModelConfig, size: tuple[int, int, int]) -> ModelConfig:
    """Return the settings of a denoiser with nothing left open, for images of `size` (C, H, W).

    Raises:
        ConfigError: The levels don't fit the images, or the channels the groups.

    Example:
        >>> complete_model(ModelConfig(), (1, 8, 8)).channels
        (16, 64)
    """
    defaults = _defaults(size)
    channels = config.channels or defaults.channels
    divisor = 1 << (len(channels) - 1)
    if any(length % divisor for length in size[1:]):
        raise ConfigError(
            f"{len(channels)} levels need sides divisible by {divisor}; the images are {'x'.join(map(str, size))} "
            "(C x H x W). Set model.channels to fewer levels, or give --resolution."
        )
    if any(width % config.groups for width in channels):
        raise ConfigError(f"Every level of model.channels {channels} must be divisible by groups {config.groups}.")
    attention = defaults.attention if config.attention is None else config.attention
    return config.model_copy(update={"channels": channels, "attention": attention})


def complete_config(config: Config, size: tuple[int, int, int]) -> Config:
    """Return the settings of a run with nothing left open, for images of `size` (C, H, W)."""
    changed = {"model": complete_model(config.model, size), "training": complete_training(config.training, size)}
    return config.model_copy(update=changed)


def complete_training(config: TrainingConfig, size: tuple[int, int, int]) -> TrainingConfig:
    """Return the settings of a training with nothing left open, for images of `size` (C, H, W).

    Example:
        >>> complete_training(TrainingConfig(), (1, 8, 8)).learning_rate
        0.004
    """
    rate = config.learning_rate or _defaults(size).learning_rate
    return config.model_copy(update={"learning_rate": rate})


def _defaults(size: tuple[int, int, int]) -> SizeDefaults:
    return next((row for row in SIZES if max(size[1:]) <= row.side), SIZES[-1])
