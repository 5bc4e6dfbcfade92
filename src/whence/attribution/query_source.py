"""Sources of queries: how pictures to draw are named, and whether pictures have the size of a model."""

from __future__ import annotations

import re

from torch import Tensor

from whence.data import Dataset
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.errors import ConfigError, DataError

#: Beginning of a source whose pictures the model draws now.
SAMPLE = "sample:"


def parse_sample_source(source: str) -> tuple[int, int]:
    """Return SEED and COUNT of ``sample:COUNT@SEED``."""
    match = re.fullmatch(SAMPLE + r"([1-9][0-9]{0,8})(?:@([0-9]{1,9}))?", source)
    if not match:
        raise ConfigError(
            f"Pictures to draw are sample:COUNT or sample:COUNT@SEED, like sample:16@0, with a count from 1 on; given "
            f"{source!r}. A folder of that name is ./{source}."
        )
    return int(match[2] or 0), int(match[1])


def with_prompts(data: Dataset, prompts: Prompts | None, source: str) -> Dataset:
    """Return pictures that are read with prompts as their captions: one for all, or one for each in the order of ids.

    Raises:
        ConfigError: The pictures have captions, there are neither one prompt nor one for each picture, or there are
            settings of drawing.
    """
    if prompts is None:
        return data
    if prompts.guidance is not None or prompts.negative:
        raise ConfigError(
            f"The pictures in {source} are read and not drawn, so guidance and a negative prompt change nothing. Leave "
            "them out, and give --prompt alone."
        )
    if any(data.captions):
        raise ConfigError(
            f"There are prompts, and the pictures in {source} have captions of their own, such as "
            f"{next(filter(None, data.captions))!r}. Leave the prompts out, or take the captions away."
        )
    if len(prompts.texts) not in (1, len(data)):
        raise ConfigError(
            f"There are {len(prompts.texts)} prompts for {len(data)} pictures in {source}. Give one for all or one for "
            "each, or put metadata.csv with the columns file_name and text beside the pictures."
        )
    texts = prompts.texts * len(data) if len(prompts.texts) == 1 else prompts.texts
    return data.with_fields(captions=texts)


def fit_pictures(pictures: Tensor, model: DiffusionModel, source: str) -> Tensor:
    """Return pictures in the size of the model's [Q, C, H, W]; grey in three channels for a model of colours."""
    channels, height, width = expected = model.codec.picture_size(model.size)
    if pictures.shape[2:] == (height, width) and (pictures.shape[1] in (1, channels)):
        return pictures.expand(-1, channels, -1, -1).contiguous()
    ways = []
    if pictures.shape[2:] != (height, width):
        square = height == width
        ways.append(f"--resolution {height}" if square else f"pictures cropped and scaled to {width}x{height} pixels")
    if pictures.shape[1] > channels == 1:
        ways.append("--grey")
    advice = f" Pass {' and '.join(ways)}." if ways else ""
    raise DataError(
        f"The queries in {source} are {_size(*pictures.shape[1:])}, the model's pictures {_size(*expected)}.{advice}"
    )


def _size(channels: int, height: int, width: int) -> str:
    """Return a size in words, such as 12x20 pixels of 3 channels."""
    return f"{width}x{height} pixels of {channels} channel{'s' if channels > 1 else ''}"
