"""Queries: the pictures whose training examples are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence.artefacts import MANIFEST
from whence.attribution.ensemble_queries import ensemble_queries
from whence.attribution.query_source import SAMPLE, fit_pictures, parse_sample_source, with_prompts
from whence.config import SamplerConfig
from whence.data import load
from whence.data.load import kind_of
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.origin import Origin
from whence.diffusion.prompts import Prompts
from whence.diffusion.repeated import Repeated
from whence.diffusion.sampling import draw_pictures, predicted_clean
from whence.engine import DEFAULT, Engine
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples
from whence.errors import ConfigError, ModelError
from whence.ragged import Ragged


def read_queries(
    model: DiffusionModel | Ensemble,
    source: str,
    *,
    sampler: SamplerConfig | None = None,
    prompts: Prompts | None = None,
    resolution: int | None = None,
    grey: bool = False,
    buckets: int | None = None,
    engine: Engine = DEFAULT,
) -> Examples:
    """Return the pictures that `source` names, in the size of the model or in shapes of about its area.

    Args:
        model: The model that is explained.
        source: ``sample:COUNT`` or ``sample:COUNT@SEED`` (seed 0) draws SEED/0 ... SEED/COUNT-1 now. Otherwise whatever
            `load` reads: a folder of images, ``digits:test``, a data set such as the ``queries`` of a bank. For a
            single model also a directory that ``whence ensemble sample`` wrote; for an ensemble also SEED/INDEX or
            SEED/FIRST-LAST of pictures that it has drawn.
        sampler: How to draw; default DDIM (Euler's method of flows) of 50 steps, or as many as there are timesteps,
            and the settings of an ensemble.
        prompts: What ``sample:COUNT`` is drawn from, by a model of text; default the empty prompt. Of pictures that
            are read and have no captions: what they were drawn from, one text for all or one for each.
        resolution: Crop the central square of pictures that are read and scale it to this height and width. The
            pictures for an ensemble always get its own size, and become grey if it is grey.
        grey: Turn pictures that are read into one channel, even where there are colours.
        buckets: Keep several shapes of pictures that are read, with sides that are multiples of this, as `load` does.
        engine: Its report is called while drawing with (sampling steps done, steps in all).

    Returns:
        The queries, float32 [Q, C, H, W] in [-1, 1], or `Ragged` of several shapes. A model of colours gets grey
        pictures in three equal channels. A picture that is drawn doesn't depend on the number of pictures.

    Raises:
        ConfigError: ``sample:`` without a count from 1 on, or more sampling steps than the model has timesteps; or
            prompts that don't fit the pictures.
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
        return ensemble_queries(model, source, sampler, prompts, engine)
    _require_pictures(model)
    if source.startswith(SAMPLE):
        seed, count = parse_sample_source(source)
        process = model.process
        sampler = sampler or SamplerConfig(method=process.samplers[0], steps=min(50, process.timesteps))
        return draw_queries(model, tuple(f"{seed}/{index}" for index in range(count)), sampler, prompts, engine)
    return _read_pictures(model, source, prompts, {"resolution": resolution, "grey": grey, "buckets": buckets})


def _read_pictures(model: DiffusionModel, source: str, prompts: Prompts | None, size: Mapping[str, Any]) -> Examples:
    """Return the pictures of samples or data, encoded as the model needs them."""
    path = Path(source)
    if ((path / MANIFEST).exists() or Path(f"{source}.part").exists()) and kind_of(path) != "dataset":
        if prompts is not None:
            raise ConfigError(f"There are prompts, and {source} holds samples of an ensemble. Leave the prompts out.")
        samples = Samples.open(path)
        origin = Origin(samples.drawing.sampler, drawn=False)
        return Examples(tuple(samples.names), fit_pictures(samples.pictures, model, source), origin=origin)
    _require_text(model, prompts)
    data = with_prompts(load(source, **size), prompts, source)
    encoders = Encoders.of(model)
    if isinstance(data.pixels, Ragged) or size["buckets"] is not None:
        queries = encoders.encode_queries(data)
        return replace(queries, notes=(*data.notes, *queries.notes))
    if encoders.are_plain:
        return Examples(data.ids, fit_pictures(data.images(range(len(data))), model, source), notes=data.notes)
    if encoders.draws_pixels:
        values, captions = fit_pictures(data.images(range(len(data))), model, source), encoders.captions(data)
        return Examples(data.ids, values, encoders.conditions(captions), notes=data.notes, captions=captions)
    fit_pictures(data.images(range(1)).expand(1, 3, -1, -1), model, source)
    queries = encoders.encode_queries(data)
    return replace(queries, notes=(*data.notes, *queries.notes))


def draw_queries(
    model: DiffusionModel,
    ids: tuple[str, ...],
    sampler: SamplerConfig,
    prompts: Prompts | None = None,
    engine: Engine = DEFAULT,
) -> Examples:
    """Return pictures SEED/INDEX that a model draws now, from prompts if it is a model of text.

    The queries have the conditions of their own prompts; guidance is for drawing alone.

    Raises:
        ConfigError: There are prompts, and the model takes no text.
    """
    encoders = Encoders.of(model)
    _require_text(model, prompts)
    notes: tuple[str, ...] = ()
    if model.text is not None and prompts is None:
        prompts, notes = (
            Prompts(guidance=1.0),
            ("No prompts were given; the pictures are drawn from the empty prompt.",),
        )
    prompts = None if model.text is None or prompts is None else prompts.completed(model.text.guidance)
    conditions, guidance = encoders.prompted(prompts, ids)
    x = draw_pictures(model, sampler, ids, engine, conditions=conditions, guidance=guidance)
    pictures = None if encoders.draws_pixels else torch.from_numpy(model.codec.decode(x))
    origin = Origin(sampler, drawn=True, prompts=prompts)
    return Examples(ids, x, conditions, origin, notes, pictures, prompts.of(ids) if prompts else ())


def predicted_queries(
    model: DiffusionModel, queries: Examples
) -> tuple[list[float], Tensor, dict[str, Tensor | Repeated]]:
    """Return t of each step that drew the queries, its x̂0 [S, Q, C, H, W], and the conditions of all of them [S Q].

    Raises:
        ConfigError: The model did not draw the queries.
    """
    origin = queries.origin
    if origin is None or not origin.drawn:
        raise ConfigError(
            "Journey-TRAK explains the way to a picture, so the model must have drawn the queries itself: give "
            "--queries sample:COUNT, or leave this method out."
        )
    conditions, guidance = Encoders.of(model).prompted(origin.prompts, queries.ids)
    timesteps, clean = predicted_clean(model, origin.sampler, queries.ids, conditions=conditions, guidance=guidance)
    every = torch.arange(len(queries)).repeat(len(timesteps))
    return timesteps, clean, {name: condition.select(every) for name, condition in conditions.items()}


def _require_text(model: DiffusionModel, prompts: Prompts | None) -> None:
    """Refuse prompts for a model that takes no text."""
    if prompts is not None and model.text is None:
        raise ConfigError(f"There are prompts, and the {type(model.network).__name__} takes no text. Leave them out.")


def _require_pictures(model: DiffusionModel) -> None:
    """Refuse a model of something else than pictures or latents of an autoencoder."""
    size = model.codec.picture_size(model.size)
    if len(size) != 3 or size[0] not in (1, 3):
        raise ModelError(
            f"Queries are pictures of 1 or 3 channels; the model's examples have the shape {model.size}. "
            "Make Examples of your own tensors in Python."
        )
