"""The settings of data sets and subsets in a file of kohya's trainer, with their names and defaults there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from whence.config import Count, Settings
from whence.data.buckets import Buckets
from whence.data.trainer_subset import Subset

Share = Annotated[float, Field(ge=0, lt=1)]


class DatasetSettings(Settings):
    """The settings of a data set of the trainer; those of the batch and the network don't change the data."""

    batch_size: Count = 1
    network_multiplier: float = 1.0
    resolution: Count | tuple[Count, Count] | None = None
    enable_bucket: bool = False
    min_bucket_reso: Count = 256
    max_bucket_reso: Count = 1024
    bucket_reso_steps: Count = 64
    bucket_no_upscale: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height."""
        return (self.resolution, self.resolution) if isinstance(self.resolution, int) else self.resolution

    @property
    def shaping(self) -> DatasetSettings:
        """The settings that decide which shape images get, alone."""
        return self.model_copy(update={"batch_size": 1, "network_multiplier": 1.0})

    @property
    def buckets(self) -> Buckets:
        """Its buckets."""
        shape = (self.min_bucket_reso, self.max_bucket_reso, self.bucket_reso_steps, self.bucket_no_upscale)
        return Buckets(self.size or (512, 512), *shape)


class SubsetSettings(Settings):
    """The settings of a subset of the trainer."""

    image_dir: str
    num_repeats: Count = 1
    is_reg: bool = False
    class_tokens: str | None = None
    caption_extension: str = ".caption"
    cache_info: bool = False
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    caption_separator: str = ","
    secondary_separator: str | None = None
    keep_tokens: int = 0
    keep_tokens_separator: str | None = None
    shuffle_caption: bool = False
    enable_wildcard: bool = False
    flip_aug: bool = False
    color_aug: bool = False
    random_crop: bool = False
    face_crop_aug_range: tuple[float, float] | None = None
    caption_dropout_rate: Share = 0.0
    caption_dropout_every_n_epochs: int = 0
    caption_tag_dropout_rate: Share = 0.0
    token_warmup_min: int = 1
    token_warmup_step: float = 0.0

    def subset(self, folder: Path) -> Subset:
        """Return the subset, whose images are in a folder."""
        extension = self.caption_extension if self.caption_extension.startswith(".") else f".{self.caption_extension}"
        return Subset(
            folder,
            self.num_repeats,
            self.class_tokens,
            self.is_reg,
            extension,
            self.caption_prefix,
            self.caption_suffix,
            (self.secondary_separator, self.caption_separator) if self.secondary_separator else None,
        )
