"""Sheets, PNG grids of equal tiles, read row by row, and the ``config.json`` that says what tiles are in them.

The last row may be padded with unused tiles. Before anything is decoded, the declared size of a PNG is compared with
the tiles that must be in it, and the checksum of every chunk is verified, which decoders don't do for pixels. So a
damaged sheet is an error, never a wrong picture.
"""

from __future__ import annotations

import io
import json
import math
import reprlib
import struct
import zlib
from typing import Annotated, Any, BinaryIO

import numpy as np
from PIL import PngImagePlugin
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whence import images
from whence.errors import ArtefactError

Shape = tuple[int, int, int, int]
"""Number, channels, height and width (n, C, H, W) of the tiles of a sheet."""

#: Pixels of the largest sheet that is read or written.
MAX_PIXELS = 2**28
#: Pixels that any sheet may have, even with few tiles.
_ROOM = 2**24
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = len(_SIGNATURE) + 25
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
#: The format in which one sheet holds the training set, one image per unit.
ONEFILE = "ONEFILE"
#: The format in which every unit has a sheet of its training images.
MULTIFILE = "MULTIFILE"

Number = Annotated[int, Field(ge=1, le=10**6)]
Side = Annotated[int, Field(ge=1, le=2**16)]


class UniverseConfig(BaseModel):
    """The ``config.json``: number of units and pictures, and their sizes. Unknown keys are ignored."""

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


def to_sheet(tiles: np.ndarray) -> bytes:
    """Return a PNG of tiles uint8 [n, C, H, W] in a grid with about as many columns as rows."""
    count, _, height, width = tiles.shape
    columns = math.isqrt(count - 1) + 1
    if columns * math.ceil(count / columns) * height * width > MAX_PIXELS:
        raise ArtefactError(f"{count:,} tiles of {width} x {height} are too many for a sheet of {MAX_PIXELS:,} pixels.")
    return images.png(images.sheet(tiles, columns=columns, side=1, gap=0))


def read_sheet(stream: BinaryIO, size: int, name: str, shape: Shape) -> np.ndarray:
    """Return the tiles uint8 [n, C, H, W] of a sheet; `shape` is what they must be, messages call it `name`.

    The PNG begins where the stream is, and has `size` bytes.

    Raises:
        ArtefactError: It is not a whole 8-bit PNG of the right colours, or not a grid of as many such tiles.
    """
    count, channels, height, width = shape
    head = stream.read(min(size, _HEAD))
    columns, rows = _require_grid(*_declared(head, name, channels), name, shape)
    pixels = columns * width * rows * height * channels
    if size > pixels + pixels // 8 + 2**20:
        raise ArtefactError(f"{name} has {size:,} bytes, far more than its {pixels:,} values can take.")
    page = _decode(_essence(head + stream.read(size - len(head)), name), name)
    if page.shape[:2] != (rows * height, columns * width):
        raise ArtefactError(f"{name} is damaged: it decodes to {page.shape[1]} x {page.shape[0]} pixels.")
    tiles = page.reshape(rows, height, columns, width, channels).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(tiles.reshape(-1, channels, height, width)[:count])


def _declared(head: bytes, name: str, channels: int) -> tuple[int, int]:
    """Width and height that a PNG declares, after a check of its colours."""
    if len(head) < _HEAD or not head.startswith(_SIGNATURE) or head[8:16] != b"\0\0\0\rIHDR":
        raise ArtefactError(f"{name} is not a PNG file: it begins with {head[:16]!r}.")
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    expected = 0 if channels == 1 else 2
    if depth != 8 or colour != expected:
        actual = _COLOURS.get(colour, f"colour type {colour}")
        raise ArtefactError(
            f"{name} is {actual} with {depth} bits; expected is {_COLOURS[expected]} with 8 bits, as config.json says."
        )
    return width, height


def _require_grid(across: int, down: int, name: str, shape: Shape) -> tuple[int, int]:
    """Columns and rows of a sheet of `across` x `down` pixels, after a check that it is a grid of the tiles."""
    count, _, height, width = shape
    actual, expected = f"{name} is {across} x {down} pixels", f"{count:,} tiles of {width} x {height}"
    if across == 0 or down == 0 or across % width or down % height:
        raise ArtefactError(f"{actual}; whole tiles of {width} x {height} are expected.")
    columns, rows = across // width, down // height
    if columns * rows < count:
        raise ArtefactError(f"{actual}, room for {columns * rows:,} tiles; {expected} are expected.")
    limit = min(MAX_PIXELS, max(2 * count * width * height, _ROOM))
    if rows > math.ceil(count / columns) or across * down > limit:
        raise ArtefactError(f"{actual}, too many for {expected}; only the last row may be padded.")
    return columns, rows


def _essence(data: bytes, name: str) -> bytes:
    """The PNG without chunks other than header, pixels and end, after a check of every CRC."""
    kept, position = [_SIGNATURE], len(_SIGNATURE)
    kinds: list[bytes] = []
    while position < len(data) and kinds[-1:] != [b"IEND"]:
        length = int.from_bytes(data[position : position + 4], "big")
        chunk = data[position : position + length + 12]
        if len(chunk) < length + 12:
            raise ArtefactError(f"{name} is cut off after {len(data):,} bytes.")
        kind = chunk[4:8]
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise ArtefactError(f"{name} is damaged: the checksum of its chunk {kind!r} at byte {position:,} is wrong.")
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(chunk)
        kinds.append(kind)
        position += len(chunk)
    if kinds[-1:] != [b"IEND"] or position != len(data) or kinds.count(b"IHDR") != 1 or b"IDAT" not in kinds:
        raise ArtefactError(f"{name} is not a whole PNG file: its chunks are not one header, pixels and one end.")
    return b"".join(kept)


def _decode(png: bytes, name: str) -> np.ndarray:
    """Pixels uint8 [H, W] or [H, W, 3]. The caller has limited the size, so the limit of Pillow is not needed."""
    try:
        return np.array(PngImagePlugin.PngImageFile(io.BytesIO(png)))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise ArtefactError(f"{name} cannot be decoded: {error}.") from None
