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
from whence.engine import DEFAULT, Engine
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError, DataError
from whence.images import to_pixels
from whence.universe.sheets import MAX_PIXELS, MULTIFILE, ONEFILE, Shape, UniverseConfig, parse_config, to_sheet
from whence.universe.tar import write_end, write_entry
from whence.universe.universe import CONFIG, FACTUAL, TRAINING_SET, Universe

if TYPE_CHECKING:
    from whence.ensemble.landscape import Landscape


def write_universe(
    path: str | Path, ensemble: Ensemble, landscapes: Sequence[Landscape], *, engine: Engine = DEFAULT
) -> Universe:
    """Return a universe file, after writing the landscapes of an ensemble into it, whole or not at all.

    Picture k of the file is ``landscapes[k]``; the ensemble gives the units and their training images, which are shown
    under each unit that they belong to. An old file is replaced. The same landscapes give the same bytes. One sheet is
    in memory at a time. The engine's report is called with (units written, units in all).

    Raises:
        ArtefactError: There is no landscape, or one is of other units or another size.
    """
    if not landscapes:
        raise ArtefactError(
            f"{ensemble.path} has no landscape to write. First: whence ensemble landscape {ensemble.path} --samples 0/0"
        )
    units, shape = ensemble.codebook.units, landscapes[0].factual.shape
    for landscape in landscapes:
        if tuple(landscape.units) != units or landscape.factual.shape != shape:
            raise ArtefactError(
                f"{landscape.path} has {len(landscape.units):,} units and pictures of {list(landscape.factual.shape)}; "
                f"expected are the {len(units):,} units of {ensemble.path} and {list(shape)}. Draw it again."
            )
    data = ensemble.data
    content = UniverseContent(
        units=units,
        training=lambda unit: data.pixels[data.examples_of(unit)],
        factual=to_pixels(torch.stack([landscape.factual for landscape in landscapes])),
        counterfactuals=lambda unit: to_pixels(torch.stack([drawn.counterfactual(unit) for drawn in landscapes])),
        counts=[len(data.examples_of(unit)) for unit in units],
    )
    return write_content(Path(path), content, engine)


class UniverseContent(NamedTuple):
    """The content of a universe file.

    Attributes:
        units: Unit ids, U.
        counts: Number n of training images of each unit, U.
        training: Function from a unit to its training images, uint8 [n, C, H, W].
        factual: The generated pictures, uint8 [S, C, H, W].
        counterfactuals: Function from a unit to the pictures drawn without it, uint8 [S, C, H, W].
    """

    units: Sequence[str]
    counts: Sequence[int]
    training: Callable[[str], np.ndarray]
    factual: np.ndarray
    counterfactuals: Callable[[str], np.ndarray]


def write_content(path: Path, content: UniverseContent, engine: Engine = DEFAULT) -> Universe:
    """Return a universe file after writing it from pixels, whole or not at all."""
    if path.is_dir():
        raise ArtefactError(f"{path} is a directory. Give the name of a file.")
    settings, config = _config(content, f"{path}, {CONFIG}")
    with artefacts.replacing(path) as temporary, temporary.open("wb") as stream:
        write_entry(stream, CONFIG, settings)
        write_entry(stream, FACTUAL, to_sheet(_require(content.factual, config.tiles, "of all members")))
        if config.format == ONEFILE:
            images = [_require(content.training(unit), config.training_tiles(1), unit) for unit in content.units]
            write_entry(stream, TRAINING_SET, to_sheet(np.concatenate(images)))
        for u, (unit, count) in enumerate(zip(content.units, content.counts, strict=True)):
            if config.format != ONEFILE:
                training = _require(content.training(unit), config.training_tiles(count), unit)
                write_entry(stream, f"train_{u}_{count}.png", to_sheet(training))
            pictures = _require(content.counterfactuals(unit), config.tiles, unit)
            write_entry(stream, f"leave_{u}_{config.pictures}.png", to_sheet(pictures))
            engine.report(u + 1, len(content.units))
        write_end(stream)
    return Universe.open(path)


def _config(content: UniverseContent, name: str) -> tuple[bytes, UniverseConfig]:
    """The bytes of ``config.json``, and the settings that a reader gets from them."""
    training, units = content.training(content.units[0]).shape[1:], len(content.units)
    alone = all(count == 1 for count in content.counts) and units * math.prod(training[1:]) <= MAX_PIXELS // 2
    values: dict[str, object] = {
        "Format": ONEFILE if alone else MULTIFILE,
        "TrainingUnits": units,
        "NumberGenerated": len(content.factual),
    }
    for prefix, (channels, height, width) in (("Train", training), ("Gen", content.factual.shape[1:])):
        values |= {f"{prefix}Height": height, f"{prefix}Width": width, f"{prefix}Channel": channels}
    settings = json.dumps(values | {"UnitNames": list(content.units)}, indent=1).encode()
    return settings, parse_config(settings, name)


def _require(pixels: np.ndarray, shape: Shape, unit: str) -> np.ndarray:
    if not len(pixels) or pixels.shape != shape or pixels.dtype != np.uint8:
        raise DataError(
            f"Unit {unit!a} has {pixels.dtype} pictures {list(pixels.shape)}; expected are uint8 {list(shape)}."
        )
    return pixels
