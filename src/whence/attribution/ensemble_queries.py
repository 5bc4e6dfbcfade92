"""Queries for an ensemble: pictures that it drew, or others, as its members get them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from whence import artefacts, images
from whence.artefacts import MANIFEST
from whence.attribution.pictures import pixels_of
from whence.attribution.query_source import SAMPLE, fit_pictures, parse_sample_source, with_prompts
from whence.config import SamplerConfig
from whence.data import Dataset, load
from whence.data.own_units import OwnUnits
from whence.diffusion.examples import Examples
from whence.diffusion.origin import Origin
from whence.diffusion.prompts import Prompts
from whence.engine import DEFAULT, Engine
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, expand_names, find_sample, sample
from whence.errors import ArtefactError, ConfigError, join_names


def ensemble_queries(
    ensemble: Ensemble, source: str, sampler: SamplerConfig | None, prompts: Prompts | None, engine: Engine = DEFAULT
) -> Examples:
    """Return the pictures that `source` names, in the size of an ensemble; all its members draw together."""
    if source.startswith(SAMPLE):
        seed, count = parse_sample_source(source)
        samples = sample(ensemble, count=count, seed=seed, sampler=sampler, prompts=prompts, engine=engine)
        queries = _of_drawn(ensemble, [(samples, index) for index in range(len(samples.names))])
        return replace(queries, origin=Origin(samples.drawing.sampler, drawn=False, prompts=samples.drawing.prompts))
    if re.fullmatch(r"\d+/\d+(-\d+)?", source):
        if prompts is not None:
            raise ConfigError(f"There are prompts, and {source} was drawn from its own. Leave the prompts out.")
        opened = dict[int, Samples]()
        return _of_drawn(ensemble, [find_sample(ensemble, name, opened) for name in expand_names([source])])
    _require_no_samples(Path(source))
    channels, height, width = ensemble.picture_size
    if prompts is not None and ensemble.encoders.are_plain:
        raise ConfigError("There are prompts, and the members of the ensemble take no text. Leave them out.")
    data = load(source, resolution=height if height == width else None, grey=channels == 1)
    data = with_prompts(data, prompts, source)
    pictures = fit_pictures(data.images(range(len(data))), ensemble.reference_model, source)
    if ensemble.encoders.are_plain:
        return Examples(data.ids, pictures, notes=data.notes)
    queries = ensemble.encoders.encode_queries(data)
    return replace(queries, notes=(*data.notes, *queries.notes))


def _of_drawn(ensemble: Ensemble, places: Sequence[tuple[Samples, int]]) -> Examples:
    """Return pictures that an ensemble has drawn, by their samples and indices."""
    ids = tuple(samples.names[index] for samples, index in places)
    values = torch.stack([samples.examples[index] for samples, index in places])
    if ensemble.encoders.are_plain:
        return Examples(ids, values)
    captions = tuple(samples.captions[index] for samples, index in places)
    pictures = images.to_pixels(torch.stack([samples.pictures[index] for samples, index in places]))
    conditions = ensemble.encoders.conditions(captions)
    return Examples(ids, values, conditions, pictures=torch.from_numpy(pictures), captions=captions)


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


def encode_shown(ensemble: Ensemble, shown: Examples) -> Examples:
    """Return pictures that a page shows, with their captions, as the members get them.

    A picture that the ensemble drew under its name has the latents that it was drawn as; others are encoded.
    """
    if ensemble.encoders.are_plain:
        return shown
    pixels = np.stack([pixels_of(picture) for picture in shown.tensor])
    places = [_place(ensemble, name, own) for name, own in zip(shown.ids, pixels, strict=True)]
    drawn = [place for place in places if place is not None]
    if len(drawn) == len(places):
        return _of_drawn(ensemble, drawn)
    captions = tuple(shown.captions) or ("",) * len(shown)
    return ensemble.encoders.encode_queries(Dataset(shown.ids, pixels, OwnUnits(shown.ids), captions))


def _place(ensemble: Ensemble, name: str, pixels: np.ndarray) -> tuple[Samples, int] | None:
    """The samples of a picture that the ensemble drew under this name, and its index; None if it drew no such one."""
    if not re.fullmatch(r"\d{1,9}/\d{1,6}", name):
        return None
    try:
        samples, index = find_sample(ensemble, name)
    except ArtefactError:
        return None
    return (samples, index) if np.array_equal(images.to_pixels(samples.pictures[index]), pixels) else None
