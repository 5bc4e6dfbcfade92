"""Sources of queries: how pictures to draw are named, and whether pictures have the size of a model."""

from __future__ import annotations

import re

from torch import Tensor

from whence.diffusion.model import DiffusionModel
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
