"""The ``config.json`` of a universe file."""

from __future__ import annotations

import json
import reprlib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whence.errors import ArtefactError
from whence.universe.sheets import Shape

ONEFILE = "ONEFILE"
"""The format in which one sheet holds the training set, one image per unit."""
MULTIFILE = "MULTIFILE"
"""The format in which every unit has a sheet of its training images."""

Number = Annotated[int, Field(ge=1, le=10**6)]
Side = Annotated[int, Field(ge=1, le=2**16)]


class UniverseConfig(BaseModel):
    """Number of units and pictures, and their sizes. Unknown keys are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    format: str = Field(alias="Format")
    units: Number = Field(alias="TrainingUnits")
    pictures: Number = Field(alias="NumberGenerated")
    training_height: Side = Field(alias="TrainHeight")
    training_width: Side = Field(alias="TrainWidth")
    training_channels: Side = Field(alias="TrainChannel")
    height: Side = Field(alias="GenHeight")
    width: Side = Field(alias="GenWidth")
    channels: Side = Field(alias="GenChannel")
    names: list[str] | None = Field(None, alias="UnitNames")

    def training_tiles(self, count: int) -> Shape:
        """Shape of `count` training images."""
        return count, self.training_channels, self.training_height, self.training_width

    @property
    def tiles(self) -> Shape:
        """Shape of the S generated pictures."""
        return self.pictures, self.channels, self.height, self.width


def parse_config(data: bytes, name: str) -> UniverseConfig:
    """Return the settings in the bytes of a ``config.json``; messages call it `name`.

    Raises:
        ArtefactError: It is not JSON, has a key twice, or a value is missing, of the wrong type or out of range.

    Example:
        >>> keys = ["TrainingUnits", "NumberGenerated", "TrainHeight", "TrainWidth", "TrainChannel"]
        >>> values = dict.fromkeys([*keys, "GenHeight", "GenWidth", "GenChannel"], 3) | {"Format": "ONEFILE"}
        >>> parse_config(json.dumps(values).encode(), "config.json").tiles
        (3, 3, 3, 3)
    """
    try:
        config = UniverseConfig.model_validate(json.loads(data, object_pairs_hook=_once, parse_constant=_refuse))
        "".join(config.names or ()).encode()
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        actual = "" if problem["type"] == "missing" else f", not {reprlib.repr(problem['input'])}"
        raise ArtefactError(f"{name}: {where}{': ' if where else ''}{problem['msg']}{actual}.") from None
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{name} is not readable JSON: {error}.") from None
    for channels in (config.training_channels, config.channels):
        if channels not in (1, 3):
            raise ArtefactError(f"{name}: pictures have 1 or 3 channels, not {channels}.")
    names = config.names
    if names is not None and (len(names), len(set(names))) != (config.units, config.units):
        raise ArtefactError(
            f"{name}: {len(names):,} UnitNames, {len(set(names)):,} of them different, for {config.units:,} "
            "TrainingUnits."
        )
    return config


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key comes twice")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
