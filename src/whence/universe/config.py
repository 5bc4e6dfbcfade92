"""What ``config.json`` of a universe file says."""

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
    """How many units and pictures there are and how large they are; unknown keys are ignored."""

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
    """Return what the bytes of a ``config.json`` say; `name` is what messages call it.

    Raises:
        ArtefactError: It is not JSON, has a key twice, or a value is missing, of the wrong type or out of range.

    Example:
        >>> keys = ["TrainingUnits", "NumberGenerated", "TrainHeight", "TrainWidth", "TrainChannel"]
        >>> values = dict.fromkeys([*keys, "GenHeight", "GenWidth", "GenChannel"], 3) | {"Format": "ONEFILE"}
        >>> parse_config(json.dumps(values).encode(), "config.json").tiles
        (3, 3, 3, 3)
    """
    try:
        found = UniverseConfig.model_validate(json.loads(data, object_pairs_hook=_once, parse_constant=_refuse))
        "".join(found.names or ()).encode()
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        given = "" if problem["type"] == "missing" else f", not {reprlib.repr(problem['input'])}"
        raise ArtefactError(f"{name}: {where}{': ' if where else ''}{problem['msg']}{given}.") from None
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{name} is not readable JSON: {error}.") from None
    for channels in (found.training_channels, found.channels):
        if channels not in (1, 3):
            raise ArtefactError(f"{name}: pictures have 1 or 3 channels, not {channels}.")
    if found.names is not None and (len(found.names), len(set(found.names))) != (found.units, found.units):
        raise ArtefactError(
            f"{name}: {len(found.names):,} UnitNames, {len(set(found.names)):,} of them different, for {found.units:,} "
            "TrainingUnits."
        )
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
