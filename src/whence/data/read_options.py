"""The settings of every reader of data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from whence.config_errors import require_whole
from whence.data.buckets import Buckets
from whence.errors import ConfigError


@dataclass(frozen=True)
class ReadOptions:
    """The settings of every reader.

    Attributes:
        unit_column: The column that holds the units; None makes each training example its own unit.
        resolution: Height and width to crop and scale to; None keeps the size that all images share.
        grey: Use one channel, even where there are colours.
        caption_column: The column that holds the captions; None for the usual ones.
        skip_bad: Leave out images that can't be decoded, and name them in a note.
        buckets: The shapes to crop and scale to, of about the area of the resolution; None for one.
    """

    unit_column: str | None = None
    resolution: int | None = None
    grey: bool = False
    caption_column: str | None = None
    skip_bad: bool = False
    buckets: Buckets | None = None

    @classmethod
    def of(cls, resolution: object, buckets: object, **options: Any) -> ReadOptions:
        """Return the settings with the step of buckets, or None, given beside the resolution.

        Raises:
            ConfigError: A number is no whole number from 1 on, or there are buckets and no resolution.
        """
        read = cls(resolution=resolution, **options)  # type: ignore[arg-type]  # checked
        if buckets is None:
            return read
        step = require_whole(buckets, "The step of buckets", least=1)
        if read.resolution is None:
            raise ConfigError(
                f"Buckets have about as many pixels as the square of the resolution: give --resolution 512 --buckets "
                f"{step}, or the resolution that the model was trained at."
            )
        return replace(read, resolution=None, buckets=Buckets.about(read.resolution, step))

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: The name of a column is no text, or the resolution is no whole number from 1 on.
        """
        for purpose, name in (("unit", self.unit_column), ("caption", self.caption_column)):
            if not isinstance(name, str | None):
                raise ConfigError(f"The {purpose} column is a {type(name).__name__}; give the name of one column.")
        if self.resolution is not None:
            object.__setattr__(self, "resolution", require_whole(self.resolution, "The resolution", least=1))
