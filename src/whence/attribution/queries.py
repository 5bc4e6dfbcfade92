"""Queries: the pictures whose training examples are looked for."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import MANIFEST
from whence.config import SamplerConfig
from whence.data import load
from whence.data.load import kind_of
from whence.diffusion.examples import Examples, Origin
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw_pictures
from whence.engine import DEFAULT, Engine
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, expand_names, find_sample, sample
from whence.errors import ConfigError, DataError, ModelError, join_names

#: Beginning of a source whose pictures the model draws now.
SAMPLE = "sample:"


def read_queries(
    model: DiffusionModel | Ensemble,
    source: str,
    *,
    sampler: SamplerConfig | None = None,
    resolution: int | None = None,
    grey: bool = False,
    engine: Engine = DEFAULT,
) -> Examples:
    """Return the pictures that `source` names, in the size of the model.

    Args:
        model: The model that is explained.
        source: ``sample:COUNT`` or ``sample:COUNT@SEED`` (seed 0) draws SEED/0 ... SEED/COUNT-1 now. Otherwise whatever
            `load` reads: a folder of images, ``digits:test``, a data set such as the ``queries`` of a bank. For a
            single model also a directory that ``whence ensemble sample`` wrote; for an ensemble also SEED/INDEX or
            SEED/FIRST-LAST of pictures that it has drawn.
        sampler: How to draw; default DDIM of 50 steps, or as many as there are timesteps, and the settings of an
            ensemble.
        resolution: Crop the central square of pictures that are read and scale it to this height and width. The
            pictures for an ensemble always get its own size, and become grey if it is grey.
        grey: Turn pictures that are read into one channel, even where there are colours.
        engine: Its report is called while drawing with (sampling steps done, steps in all).

    Returns:
        The queries, float32 [Q, C, H, W] in [-1, 1]. A model of colours gets grey pictures in three equal channels. A
        picture that is drawn doesn't depend on the number of pictures.

    Raises:
        ConfigError: ``sample:`` without a count from 1 on, or more sampling steps than the model has timesteps.
        DataError: There is no such data set, or its pictures have another size than the model's.
        ArtefactError: The directory is a damaged artefact, or no samples; or the ensemble has not drawn the picture.
        ModelError: The model doesn't draw pictures of 1 or 3 channels.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 8, 8), seed=0)
        >>> queries = read_queries(model, "sample:2@7", sampler=SamplerConfig(method="ddim", steps=2))
        >>> queries.ids, queries.values.shape, queries.origin.drawn
        (('7/0', '7/1'), torch.Size([2, 1, 8, 8]), True)
    """
    if isinstance(model, Ensemble):
        return _ensemble_queries(model, source, sampler, engine)
    _require_pictures(model)
    if source.startswith(SAMPLE):
        seed, count = parse_sample_source(source)
        sampler = sampler or SamplerConfig(method="ddim", steps=min(50, model.process.timesteps))
        ids = tuple(f"{seed}/{index}" for index in range(count))
        return Examples(ids, draw_pictures(model, sampler, ids, engine), origin=Origin(sampler, drawn=True))
    path = Path(source)
    if ((path / MANIFEST).exists() or Path(f"{source}.part").exists()) and kind_of(path) != "dataset":
        return _of_samples(samples := Samples.open(path), _fitted(samples.pictures, model, source))
    data = load(source, resolution=resolution, grey=grey)
    return Examples(data.ids, _fitted(data.images(range(len(data))), model, source), notes=data.notes)


def _ensemble_queries(ensemble: Ensemble, source: str, sampler: SamplerConfig | None, engine: Engine) -> Examples:
    """Return the pictures that `source` names, in the size of an ensemble; all its members draw together."""
    if source.startswith(SAMPLE):
        seed, count = parse_sample_source(source)
        samples = sample(ensemble, count=count, seed=seed, sampler=sampler, engine=engine)
        return _of_samples(samples, samples.pictures)
    if re.fullmatch(r"\d+/\d+(-\d+)?", source):
        ids, opened = expand_names([source]), dict[int, Samples]()
        places = [find_sample(ensemble, name, opened) for name in ids]
        return Examples(tuple(ids), torch.stack([samples.pictures[index] for samples, index in places]))
    _require_no_samples(Path(source))
    channels, height, width = ensemble.reference_model.size
    data = load(source, resolution=height if height == width else None, grey=channels == 1)
    pictures = _fitted(data.images(range(len(data))), ensemble.reference_model, source)
    return Examples(data.ids, pictures, notes=data.notes)


def _require_no_samples(path: Path) -> None:
    """Refuse a directory of samples of an ensemble with the names of its pictures, by which they are asked for."""
    if not (path / MANIFEST).exists() or artefacts.kind_of(path) != "samples":
        return
    made = Samples.open(path).manifest.made
    if made["without"]:
        raise ConfigError(
            f"{path} holds pictures that were drawn without {join_names(made['without'])}, which have no name to ask "
            "for. Copy its images into a folder of their own, and give that."
        )
    names = f"{made['seed']}/0" + (f"-{made['count'] - 1}" if made["count"] > 1 else "")
    raise ConfigError(f"{path} holds pictures that an ensemble drew; name them as {names}.")


def _of_samples(samples: Samples, pictures: Tensor) -> Examples:
    return Examples(tuple(samples.names), pictures, origin=Origin(samples.sampler, drawn=False))


def _require_pictures(model: DiffusionModel) -> None:
    """Refuse a model of latents or of something else than pictures."""
    if len(model.size) != 3 or model.size[0] not in (1, 3):
        raise ModelError(
            f"Queries are pictures of 1 or 3 channels; the model's examples have the shape {model.size}. "
            "Make Examples of your own tensors in Python."
        )


def parse_sample_source(source: str) -> tuple[int, int]:
    """Return SEED and COUNT of ``sample:COUNT@SEED``."""
    match = re.fullmatch(SAMPLE + r"([1-9][0-9]{0,8})(?:@([0-9]{1,9}))?", source)
    if not match:
        raise ConfigError(
            f"Pictures to draw are sample:COUNT or sample:COUNT@SEED, like sample:16@0, with a count from 1 on; given "
            f"{source!r}. A folder of that name is ./{source}."
        )
    return int(match[2] or 0), int(match[1])


def _fitted(pictures: Tensor, model: DiffusionModel, source: str) -> Tensor:
    """Return pictures in the model's size [Q, C, H, W]; grey in three channels for a model of colours."""
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
        f"The queries in {source} are {_size(*pictures.shape[1:])}, the model's pictures {_size(*model.size)}.{advice}"
    )


def _size(channels: int, height: int, width: int) -> str:
    """Return a size in words, such as 12x20 pixels of 3 channels."""
    return f"{width}x{height} pixels of {channels} channel{'s' if channels > 1 else ''}"
