"""Images from files, bytes or Pillow to uint8 pixels.

An image is turned as its EXIF orientation says. Transparent parts become white. 16-bit grey is scaled
(not clipped) to 8 bit. Of several frames the first is used. A file that can't be decoded to its last
byte is an error.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from whence.errors import ConfigError, DataError, join_names

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
    """Size and mode of an image, read before its pixels are decoded."""

    height: int  # in pixels, once turned upright
    width: int  # in pixels, once turned upright
    mode: str  # Pillow's name for its channels and depth
    frames: int  # more than 1 for an animation

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


def stack(
    names: Sequence[str], sources: Iterable[Source], *, resolution: int | None = None, grey: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Decode images of one size into one array. `sources` is read twice: first the headers, then the pixels.

    Args:
        names: What messages call the images (N, at least one).
        sources: The images, in the same order.
        resolution: Crop and scale every image to this height and width.
        grey: Use one channel, even where some images have colours.

    Returns:
        Pixels, uint8 [N, C, H, W], with C = 1 if every image is grey and 3 otherwise; and notes on
        what was converted.

    Raises:
        ConfigError: The resolution is not a positive number.
        DataError: An image can't be decoded, or sizes differ and no resolution was given.
    """
    if resolution is not None and resolution < 1:
        raise ConfigError(f"The resolution must be 1 pixel or more, not {resolution}.")
    headers = [header(source, name) for name, source in zip(names, sources, strict=True)]
    channels = 1 if grey or all(image.grey for image in headers) else 3
    height, width = (resolution, resolution) if resolution else _common_size(headers)
    pixels = np.empty((len(headers), channels, height, width), dtype=np.uint8)
    for n, (name, source) in enumerate(zip(names, sources, strict=True)):
        image = decode(source, name, channels=channels, resolution=resolution)
        if image.shape != pixels.shape[1:]:
            raise DataError(f"{name} changed while it was read. Read the data again.")
        pixels[n] = image
    return pixels, _notes(names, headers, channels)


def _common_size(headers: Sequence[Header]) -> tuple[int, int]:
    """Return the one height and width of all images.

    Raises:
        DataError: There are several.
    """
    sizes = Counter((image.height, image.width) for image in headers)
    if len(sizes) > 1:
        common = [f"{width}x{height} ({count})" for (height, width), count in sizes.most_common()]
        raise DataError(
            f"The images have {len(sizes)} sizes: {join_names(common, most=5)}. "
            "Pass --resolution to crop and scale all of them to one square."
        )
    return next(iter(sizes))


def _notes(names: Sequence[str], headers: Sequence[Header], channels: int) -> list[str]:
    target = "L" if channels == 1 else "RGB"
    notes = []
    modes = Counter(image.mode for image in headers if image.mode != target)
    if modes:
        counts = ", ".join(f"{mode} ({count})" for mode, count in sorted(modes.items()))
        notes.append(f"Images converted to {target}: {counts}; transparent parts are white.")
    animated = [name for name, image in zip(names, headers, strict=True) if image.frames > 1]
    if animated:
        notes.append(f"Images with several frames, of which the first is used: {join_names(animated)}.")
    return notes
