"""Sheets: PNG grids of equal tiles, read row by row; the last row may be padded with unused tiles.

Before anything is decoded, the declared size of a PNG is compared with the tiles that must be in it, and the checksum
of every chunk is verified, which decoders don't do for pixels. So a damaged sheet is an error, never a wrong picture.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from typing import BinaryIO

import numpy as np
from PIL import PngImagePlugin

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


def to_sheet(tiles: np.ndarray) -> bytes:
    """Return a PNG of tiles uint8 [n, C, H, W] in a grid with about as many columns as rows.

    Raises:
        ArtefactError: They are more than a sheet may hold.

    Example:
        >>> tiles = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)
        >>> png = to_sheet(tiles)
        >>> bool((read_sheet(io.BytesIO(png), len(png), "a sheet", tiles.shape) == tiles).all())
        True
    """
    count, _, height, width = tiles.shape
    columns = math.isqrt(count - 1) + 1
    if columns * math.ceil(count / columns) * height * width > MAX_PIXELS:
        raise ArtefactError(f"{count:,} tiles of {width} x {height} are too many for a sheet of {MAX_PIXELS:,} pixels.")
    return images.png(images.sheet(tiles, columns=columns, side=1, gap=0))


def read_sheet(stream: BinaryIO, size: int, name: str, shape: Shape) -> np.ndarray:
    """Return the tiles of a sheet.

    Args:
        stream: Where the PNG begins.
        size: Its bytes.
        name: Its name in messages.
        shape: Number, channels, height and width of the tiles that must be in it.

    Returns:
        uint8 [n, C, H, W].

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
