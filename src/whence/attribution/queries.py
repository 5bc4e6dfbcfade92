"""The pictures whose training examples are asked for: drawn by the model now, drawn by an ensemble, or any others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from whence.artefacts import MANIFEST
from whence.config import SamplerConfig
from whence.data import load
from whence.data.load import kind_of
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw_pictures
from whence.engine import Report, silent
from whence.ensemble.sampling import Samples
from whence.errors import ConfigError, DataError, ModelError

#: How a request for pictures that are drawn now begins.
SAMPLE = "sample:"


@dataclass(frozen=True, eq=False)
class Queries:
    """Q pictures of the size that the model draws.

    Attributes:
        names: Their ids, Q; SEED/INDEX where they were drawn.
        pictures: float32 [Q, C, H, W] in [-1, 1].
        sampler: How they were drawn; None where that isn't known.
        drawn: Whether the model that is explained drew them itself, from the noise of their names, so that
            `whence.diffusion.sampling.predicted_clean` can make the way to them again.
    """

    names: tuple[str, ...]
    pictures: Tensor
    sampler: SamplerConfig | None
    drawn: bool


def read_queries(
    model: DiffusionModel,
    source: str,
    *,
    sampler: SamplerConfig | None = None,
    resolution: int | None = None,
    grey: bool = False,
    report: Report = silent,
) -> Queries:
    """Return the pictures that `source` stands for, in the model's size.

    Args:
        model: The model that is explained.
        source: ``sample:COUNT`` or ``sample:COUNT@SEED`` (seed 0) draws SEED/0 ... SEED/COUNT-1 now; a directory that
            ``whence ensemble sample`` wrote; or whatever `load` reads: a folder of images, ``digits:test``, a data set
            such as the ``queries`` of a bank.
        sampler: How to draw; default DDIM of 50 steps.
        resolution: Crop the central square of pictures that are read and scale it to this height and width.
        grey: One channel of pictures that are read, even where there are colours.
        report: Called while drawing with (sampling steps done, steps in all).

    Returns:
        The queries. Grey pictures are given to a model of colours with three equal channels. A picture that is drawn
        doesn't depend on how many are drawn.

    Raises:
        ConfigError: ``sample:`` without a count from 1 on, or more sampling steps than the model has timesteps.
        DataError: There is no such data set, or its pictures have another size than the model's.
        ArtefactError: The directory is a damaged artefact, or no samples.
        ModelError: The model doesn't draw pictures of 1 or 3 channels.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 8, 8), seed=0)
        >>> queries = read_queries(model, "sample:2@7", sampler=SamplerConfig(method="ddim", steps=2))
        >>> queries.names, queries.pictures.shape, queries.drawn
        (('7/0', '7/1'), torch.Size([2, 1, 8, 8]), True)
    """
    _require_pictures(model)
    if source.startswith(SAMPLE):
        seed, count = sample_request(source)
        sampler, names = sampler or SamplerConfig(method="ddim"), tuple(f"{seed}/{index}" for index in range(count))
        return Queries(names, draw_pictures(model, sampler, names, report), sampler, drawn=True)
    path = Path(source)
    if ((path / MANIFEST).exists() or Path(f"{source}.part").exists()) and kind_of(path) != "dataset":
        samples = Samples.open(path)
        return Queries(tuple(samples.names), _fitted(samples.pictures, model, source), samples.sampler, drawn=False)
    data = load(source, resolution=resolution, grey=grey)
    return Queries(data.ids, _fitted(data.images(range(len(data))), model, source), sampler=None, drawn=False)


def _require_pictures(model: DiffusionModel) -> None:
    """Check that the model's examples are pictures.

    Raises:
        ModelError: They are latents or something else.
    """
    if len(model.size) != 3 or model.size[0] not in (1, 3):
        raise ModelError(
            f"Queries are pictures of 1 or 3 channels; the model's examples have the shape {model.size}. "
            "Make Queries of your own tensors in Python."
        )


def sample_request(source: str) -> tuple[int, int]:
    """Return SEED and COUNT of ``sample:COUNT@SEED``.

    Raises:
        ConfigError: It is written in another way.

    Example:
        >>> sample_request("sample:2@3")
        (3, 2)
    """
    match = re.fullmatch(SAMPLE + r"([1-9][0-9]{0,8})(?:@([0-9]{1,9}))?", source)
    if not match:
        raise ConfigError(
            f"Pictures to draw are sample:COUNT or sample:COUNT@SEED, like sample:16@0, with a count from 1 on; given "
            f"{source!r}. A folder of that name is ./{source}."
        )
    return int(match[2] or 0), int(match[1])


def _fitted(pictures: Tensor, model: DiffusionModel, source: str) -> Tensor:
    """Return pictures in the model's size [Q, C, H, W]; grey in three channels for a model of colours.

    Raises:
        DataError: They have another size.
    """
    channels, height, width = model.size
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
        f"The queries in {source} are {_described(*pictures.shape[1:])}, the model's pictures "
        f"{_described(*model.size)}.{advice}"
    )


def _described(channels: int, height: int, width: int) -> str:
    """Return a size in words.

    Example:
        >>> _described(3, 20, 12)
        '12x20 pixels of 3 channels'
    """
    return f"{width}x{height} pixels of {channels} channel{'s' if channels > 1 else ''}"
