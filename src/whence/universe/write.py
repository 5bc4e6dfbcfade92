"""Writing universe files, one sheet at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from whence import artefacts
from whence.engine import Report, silent
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError, DataError
from whence.images import to_pixels
from whence.universe.config import MULTIFILE, ONEFILE, UniverseConfig, parse_config
from whence.universe.read import CONFIG, FACTUAL, TRAINING_SET, Universe
from whence.universe.sheets import MAX_PIXELS, Shape, to_sheet
from whence.universe.tar import write_end, write_member

if TYPE_CHECKING:
    from whence.ensemble.landscape import Landscape


def write_universe(
    path: str | Path, ensemble: Ensemble, landscapes: Sequence[Landscape], *, report: Report = silent
) -> Universe:
    """Write the landscapes of an ensemble as a universe file, whole or not at all.

    Picture k of the file is ``landscapes[k]``. The same landscapes give the same bytes. Training images are shown under
    each unit that they belong to. One sheet is in memory at a time.

    Args:
        path: The ``.ctf`` file; an old one is replaced.
        ensemble: Whose landscapes they are: it gives the units and their training images.
        landscapes: One for each picture.
        report: Called with (units written, units in all).

    Returns:
        The file, opened.

    Raises:
        ArtefactError: There is no landscape, or one is of other units or another size.
    """
    if not landscapes:
        raise ArtefactError(
            f"{ensemble.path} has no landscape to write. First: whence ensemble landscape {ensemble.path} --samples 0/0"
        )
    units, shape = ensemble.codebook.units, landscapes[0].factual.shape
    for one in landscapes:
        if tuple(one.units) != units or one.factual.shape != shape:
            raise ArtefactError(
                f"{one.path} has {len(one.units):,} units and pictures of {list(one.factual.shape)}; expected are the "
                f"{len(units):,} units of {ensemble.path} and {list(shape)}. Draw it again."
            )
    data = ensemble.data
    pages = Pages(
        units=units,
        training=lambda unit: data.pixels[data.examples_of(unit)],
        factual=to_pixels(torch.stack([one.factual for one in landscapes])),
        counterfactuals=lambda unit: to_pixels(torch.stack([one.counterfactual(unit) for one in landscapes])),
        counts=[len(data.examples_of(unit)) for unit in units],
    )
    return write_pages(Path(path), pages, report)


class Pages(NamedTuple):
    """What goes into a universe file.

    Attributes:
        units: Unit ids, U.
        counts: Number n of training images of each unit, U.
        training: From a unit to its training images, uint8 [n, C, H, W].
        factual: The generated pictures, uint8 [S, C, H, W].
        counterfactuals: From a unit to the pictures drawn without it, uint8 [S, C, H, W].
    """

    units: Sequence[str]
    counts: Sequence[int]
    training: Callable[[str], np.ndarray]
    factual: np.ndarray
    counterfactuals: Callable[[str], np.ndarray]


def write_pages(path: Path, pages: Pages, report: Report = silent) -> Universe:
    """Return a universe file, written from pixels, whole or not at all.

    Raises:
        ArtefactError: `path` is a directory.
        DataError: A unit has no training image, or pictures have not the size of the others.

    Example:
        >>> import tempfile
        >>> black = np.zeros((1, 1, 2, 2), np.uint8)
        >>> pages = Pages(("ann",), (1,), lambda unit: black, black, lambda unit: black + 255)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_pages(Path(folder) / "universe.ctf", pages).radius(0)
        2.0
    """
    if path.is_dir():
        raise ArtefactError(f"{path} is a directory. Give the name of a file.")
    content, config = _config(pages, f"{path}, {CONFIG}")
    with artefacts.replacing(path) as temporary, temporary.open("wb") as stream:
        write_member(stream, CONFIG, content)
        write_member(stream, FACTUAL, to_sheet(_require(pages.factual, config.tiles, "of all members")))
        if config.format == ONEFILE:
            images = [_require(pages.training(unit), config.training_tiles(1), unit) for unit in pages.units]
            write_member(stream, TRAINING_SET, to_sheet(np.concatenate(images)))
        for u, (unit, count) in enumerate(zip(pages.units, pages.counts, strict=True)):
            if config.format != ONEFILE:
                training = _require(pages.training(unit), config.training_tiles(count), unit)
                write_member(stream, f"train_{u}_{count}.png", to_sheet(training))
            pictures = _require(pages.counterfactuals(unit), config.tiles, unit)
            write_member(stream, f"leave_{u}_{config.pictures}.png", to_sheet(pictures))
            report(u + 1, len(pages.units))
        write_end(stream)
    return Universe.open(path)


def _config(pages: Pages, name: str) -> tuple[bytes, UniverseConfig]:
    """The content of ``config.json``, and what a reader will make of it."""
    training = pages.training(pages.units[0]).shape[1:]
    alone = all(count == 1 for count in pages.counts) and len(pages.units) * math.prod(training[1:]) <= MAX_PIXELS // 2
    values: dict[str, object] = {
        "Format": ONEFILE if alone else MULTIFILE,
        "TrainingUnits": len(pages.units),
        "NumberGenerated": len(pages.factual),
    }
    for prefix, (channels, height, width) in (("Train", training), ("Gen", pages.factual.shape[1:])):
        values |= {f"{prefix}Height": height, f"{prefix}Width": width, f"{prefix}Channel": channels}
    content = json.dumps(values | {"UnitNames": list(pages.units)}, indent=1).encode()
    return content, parse_config(content, name)


def _require(pixels: np.ndarray, shape: Shape, unit: str) -> np.ndarray:
    if not len(pixels) or pixels.shape != shape or pixels.dtype != np.uint8:
        raise DataError(
            f"Unit {unit!a} has {pixels.dtype} pictures {list(pixels.shape)}; expected are uint8 {list(shape)}."
        )
    return pixels
