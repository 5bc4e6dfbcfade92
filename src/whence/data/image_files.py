"""Image files: which files are images, and their size and mode before their pixels are decoded."""

from __future__ import annotations

import importlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from whence.errors import ConfigError, DataError

Source = Path | bytes | Image.Image
"""Where an image comes from."""

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files with these extensions, in lower or upper case, are images; one that can't be decoded is an error."""

with suppress(ImportError):  # HEIF, the format of many telephones, is read where the package is installed
    importlib.import_module("pillow_heif").register_heif_opener()
Image.init()
FORMATS = tuple(
    name
    for name in ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
    if name in Image.OPEN
)
"""The formats that this installation reads."""

WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")
GREY = ("1", "L", "LA", *WIDE)
_SIDEWAYS = (5, 6, 7, 8)
_MAX_PIXELS = "WHENCE_MAX_PIXELS"


def is_image(path: Path) -> bool:
    """Return whether a file is an image: by its extension, or else by its first bytes.

    Example:
        >>> is_image(Path("horse/1.JPG")), is_image(Path("metadata.csv"))
        (True, False)
    """
    if path.name.lower().endswith(EXTENSIONS):
        return True
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # Pillow's readers raise nearly anything on a file of another kind
        return False


@dataclass(frozen=True)
class Header:
    """Size and mode of an image, read before its pixels are decoded."""

    height: int  # in pixels, once turned upright
    width: int  # in pixels, once turned upright
    mode: str  # Pillow's name for its channels and depth
    frames: int  # more than 1 for an animation
    deep: bool  # whether the file has more than 8 bits per channel

    @property
    def grey(self) -> bool:
        """Whether one channel holds all of it."""
        return self.mode in GREY


def header(source: Source, name: str) -> Header:
    """Return the size and mode of an image; `name` is what messages call it.

    Raises:
        DataError: It is not an image, or damaged.
    """
    with open_image(source, name) as image:
        width, height = image.size
        deep = image.mode in WIDE or any(";16" in str(tile) for tile in getattr(image, "tile", ()))
        # Pillow turns TIFF files itself, and their size is the one after that
        if image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS:
            width, height = height, width
        return Header(height, width, image.mode, getattr(image, "n_frames", 1), deep)


@contextmanager
def open_image(source: Source, name: str) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong in Pillow while it is open is a `DataError`."""
    try:
        if isinstance(source, Image.Image):
            yield source
        else:
            with _open(source) as image:
                yield image
    except (DataError, ConfigError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"{name} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a directory; an image file was expected.") from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is not an image in one of the formats {', '.join(FORMATS)}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(
            f"{name} has more than {Image.MAX_IMAGE_PIXELS:,} pixels. Larger images are refused, because a small file "
            f"can unpack to more than the memory. If this one is in order, set the environment variable {_MAX_PIXELS} "
            "to the number of pixels that may be read, or make the image smaller."
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise DataError(f"{name} cannot be decoded: {error}. Repair or remove it.") from error


def _open(source: Path | bytes) -> Image.Image:
    if limit := os.environ.get(_MAX_PIXELS):
        if not limit.isdecimal():
            raise ConfigError(f"The environment variable {_MAX_PIXELS} is {limit!r}; a number of pixels is expected.")
        Image.MAX_IMAGE_PIXELS = int(limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
