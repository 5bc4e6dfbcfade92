"""The focus of queries from masks in files and from prompts without a concept; and which methods have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.run_method import RunMethod
from whence.data import Dataset, load
from whence.data.image_files import EXTENSIONS
from whence.diffusion.examples import Examples
from whence.diffusion.focus import Focus, element_mask
from whence.diffusion.repeated import Repeated
from whence.errors import ConfigError, DataError, join_names

if TYPE_CHECKING:
    from whence.attribution.target import Target
    from whence.ensemble.model import Ensemble


def focused(
    target: Target | Ensemble,
    queries: Examples,
    mask: Path | None = None,
    without: Sequence[str] = (),
    resolution: int | None = None,
) -> Examples:
    """Return queries of which a part is explained: a region, a concept, or a concept within a region.

    Scores of methods that are linear in the gradient of the query (`tangent`, `trak`, `d-trak`, `gradient-dot`,
    `ek-fac` and others) add up over masks that add up to 1 everywhere. Those of `tangent-squared`, `das-squared`,
    `gradient-cosine` and of gradients that are normalised don't.

    Args:
        target: What is explained; an ensemble explains regions alone.
        queries: The queries.
        mask: An image in grey, black is 0 and white 1, for all queries; or a folder with one for each query, of the
            same name. They have the size of the pictures; each latent gets the mean over its area.
        without: Prompts without the concept: one for all queries, or one for each in their order.
        resolution: Crop the central square of masks and scale it to this height and width, as of the pictures.

    Raises:
        ConfigError: There are prompts, and the model takes no text, or they are neither one nor one for each query.
        DataError: There is no such mask, or none with the name of a query; or masks have another size than the
            pictures, or are black everywhere.
    """
    if mask is None and not without:
        return queries
    region = None if mask is None else read_mask(target, queries, mask, resolution)
    conditions, texts = _without(target, queries, without) if without else ({}, ())
    return replace(queries, focus=Focus(region, conditions, texts))


def read_mask(target: Target | Ensemble, queries: Examples, path: Path, resolution: int | None = None) -> Tensor:
    """Return the mask of the elements of queries, float32 [Q, H, W]; see `focused`."""
    masks = load(str(path), resolution=resolution, grey=True)
    _, height, width = target.encoders.codec.picture_size(queries.size)
    if tuple(masks.size) != (1, height, width):
        given = f"{masks.size[2]}x{masks.size[1]}"
        raise DataError(
            f"The masks in {path} are {given} pixels, the model's pictures {width}x{height}. Give masks of the "
            "pictures' size, and --resolution where pictures are cropped and scaled."
        )
    rows = _rows(masks, queries.ids, path)
    of_pictures = artefacts.to_tensor(masks.pixels[rows.numpy()])[:, 0].float() / 255
    for name, black in zip(queries.ids, (of_pictures == 0).flatten(1).all(1).tolist(), strict=True):
        if black:
            raise DataError(f"The mask of {name!r} in {path} is black everywhere: no part would be explained.")
    return element_mask(of_pictures, queries.size)


def _rows(masks: Dataset, names: Sequence[str], path: Path) -> Tensor:
    """Return which of the masks each query has: the only one of a file, or the one of its name."""
    if path.is_file():
        return torch.zeros(len(names), dtype=torch.int64)
    by_name = {_stem(name): n for n, name in enumerate(masks.ids)}
    missing = [name for name in names if _stem(name) not in by_name]
    others = sorted(set(by_name) - {_stem(name) for name in names})
    if missing:
        raise DataError(
            f"{path} has no mask for {join_names(missing)}; it has {join_names(list(masks.ids))}. Give each mask the "
            "name of its picture, or one file for all."
        )
    if others:
        raise DataError(f"{path} has masks of no query: {join_names(others)}. Take them away.")
    return torch.tensor([by_name[_stem(name)] for name in names])


def _stem(name: str) -> str:
    """Return the name of an image without its extension; other names as they are."""
    return str(PurePosixPath(name).with_suffix("")) if name.lower().endswith(EXTENSIONS) else name


def _without(
    target: Target | Ensemble, queries: Examples, texts: Sequence[str]
) -> tuple[dict[str, Tensor | Repeated], tuple[str, ...]]:
    """Return the conditions of queries with other prompts, and these prompts; the size of the picture is the same."""
    encoders = target.encoders
    if encoders.text is None:
        raise ConfigError("There is a prompt without the concept, and the model takes no text. Leave it out.")
    if len(texts) not in (1, len(queries)):
        raise ConfigError(
            f"There are {len(texts)} prompts without the concept for {len(queries)} pictures. Give one for all or one "
            "for each."
        )
    every = tuple(texts) * (len(queries) if len(texts) == 1 else 1)
    sizes = [encoders.codec.picture_size(size) for size in queries.sizes]
    return {**queries.conditions, **encoders.conditions(every, sizes)}, every


def require_readouts(methods: Sequence[str | Method | RunMethod]) -> None:
    """Refuse methods that don't differentiate a readout of the queries themselves, for queries with a focus."""
    for method in methods:
        name = method if isinstance(method, str) else method.name
        if not isinstance(method, Method) or method.steps != "none":
            raise ConfigError(
                f"The method {name!r} explains whole pictures. Leave it out, or the mask and the prompt without the "
                "concept; tangent, trak, d-trak and other methods by gradients of the query explain parts."
            )
