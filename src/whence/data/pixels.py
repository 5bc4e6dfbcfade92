"""One image, from a file, bytes or Pillow, to uint8 pixels.

What is decided here: pictures are turned as their EXIF orientation says, transparency is
composited on white, 16-bit grey is scaled (not clipped) to 8 bit, the first of several frames
counts, and a file that can't be decoded to its last byte is an error.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from whence.errors import DataError

Source = Path | bytes | Image.Image
"""Where an image comes from."""

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files with these extensions, in lower or upper case, are images."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_GREY = ("1", "L", "LA", *_WIDE)
_SIDEWAYS = (5, 6, 7, 8)


def is_image(name: str) -> bool:
    """Return whether a file is an image by its extension.

    Example:
        >>> is_image("horse/1.JPG"), is_image("metadata.csv")
        (True, False)
    """
    return name.lower().endswith(EXTENSIONS)


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded.

    Attributes:
        height: Height in pixels, once turned upright.
        width: Width in pixels, once turned upright.
        mode: Pillow's name for its channels and depth.
        frames: Number of frames; more than 1 for an animation.
    """

    height: int
    width: int
    mode: str
    frames: int

    @property
    def grey(self) -> bool:
        """Whether one channel holds all of it."""
        return self.mode in _GREY


def header(source: Source, name: str) -> Header:
    """Return the size and mode of an image; `name` is what messages call it.

    Raises:
        DataError: It is not an image, or damaged.
    """
    with _opened(source, name) as image:
        width, height = image.size
        if image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS:
            width, height = height, width
        return Header(height, width, image.mode, getattr(image, "n_frames", 1))


def decode(source: Source, name: str, *, channels: int, resolution: int | None = None) -> np.ndarray:
    """Decode an image to uint8 [C, H, W].

    Args:
        source: The image.
        name: What messages call it.
        channels: 1 for grey, 3 for RGB.
        resolution: Crop the central square and scale it (Lanczos) to this height and width.

    Returns:
        The pixels.

    Raises:
        DataError: It is not an image, is damaged, or has pixels that 8 bits can't stand for.

    Example:
        >>> decode(Image.new("RGBA", (2, 1), (0, 0, 0, 0)), "clear", channels=1).tolist()
        [[[255, 255]]]
    """
    with _opened(source, name) as image:
        flat = _flatten(ImageOps.exif_transpose(image), name)
        if resolution is not None:
            flat = _central_square(flat).resize((resolution, resolution), Image.Resampling.LANCZOS)
        array = np.array(flat.convert("L" if channels == 1 else "RGB"))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


@contextmanager
def _opened(source: Source, name: str) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong in Pillow while it is open is a `DataError`."""
    try:
        if isinstance(source, Image.Image):
            yield source
        else:
            with _open(source) as image:
                yield image
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name} is not an image in one of the formats {', '.join(_FORMATS)}.") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise DataError(f"{name} cannot be decoded: {error}. Repair or remove it.") from error


def _open(source: Path | bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS)


def _central_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _flatten(image: Image.Image, name: str) -> Image.Image:
    """Return 8-bit grey or RGB for any mode, transparency on white.

    Raises:
        DataError: The pixels are floating point numbers, whose range isn't known.
    """
    if image.mode == "F":
        raise DataError(f"{name} has floating point pixels. Save it with 8 or 16 bits per channel.")
    if image.mode in _WIDE:
        return _narrow(image, name)
    target = "L" if image.mode in _GREY else "RGB"
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(target)


def _narrow(image: Image.Image, name: str) -> Image.Image:
    """Return 16-bit grey scaled to 8 bit: v / 257, rounded.

    Raises:
        DataError: A value needs more than 16 bits.
    """
    values = np.array(image, dtype=np.int64)
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise DataError(f"{name} has pixels from {low} to {high}; 16-bit grey goes from 0 to 65535.")
    if "transparency" in image.info:
        values[values == image.info["transparency"]] = 65535
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))
