"""Images from files, bytes or Pillow to uint8 pixels.

An image is turned as its EXIF orientation says. Transparent parts become white. 16-bit grey is scaled
(not clipped) to 8 bit. Of several frames the first is used. A file that can't be decoded to its last
byte is an error. So is an image of more pixels than Pillow reads without a warning (89,478,485); the environment
variable ``WHENCE_MAX_PIXELS`` raises that limit.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from whence.data.buckets import Buckets
from whence.data.image_files import GREY, WIDE, Source, open_image
from whence.errors import DataError


def decode(
    source: Source, name: str, *, channels: int, resolution: int | None = None, buckets: Buckets | None = None
) -> np.ndarray:
    """Decode an image to uint8 [C, H, W].

    Args:
        source: The image.
        name: What messages call it.
        channels: 1 for grey, 3 for RGB.
        resolution: Crop the central square and scale it (Lanczos) to this height and width.
        buckets: Crop the centre and scale it to the shape that they have for the image.

    Returns:
        The pixels.

    Raises:
        DataError: It is not an image, is damaged, or has pixels that 8 bits can't stand for.

    Example:
        >>> decode(Image.new("RGBA", (2, 1), (0, 0, 0, 0)), "clear", channels=1).tolist()
        [[[255, 255]]]
    """
    with open_image(source, name) as image:
        image.load()  # Pillow turns TIFF files here, and takes their orientation away
        flat = _flatten(ImageOps.exif_transpose(image), name)
        if resolution is not None:
            buckets = Buckets((resolution, resolution), single=True)
        if buckets is not None:
            flat = _fitted(flat, buckets)
        array = np.array(flat.convert("L" if channels == 1 else "RGB"))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _fitted(image: Image.Image, buckets: Buckets) -> Image.Image:
    """Return the centre of an image, scaled to its shape."""
    shape, scale = buckets.of(image.size), buckets.scale(image.size)
    width, height = (min(side, max(1, round(wanted / scale))) for side, wanted in zip(image.size, shape, strict=True))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)).resize(shape, Image.Resampling.LANCZOS)


def _flatten(image: Image.Image, name: str) -> Image.Image:
    """Return 8-bit grey or RGB for any mode, transparency on white.

    Raises:
        DataError: The pixels are floating point numbers, whose range isn't known.
    """
    if image.mode == "F":
        raise DataError(f"{name} has floating point pixels. Save it with 8 or 16 bits per channel.")
    if image.mode in WIDE:
        return _narrow(image, name)
    target = "L" if image.mode in GREY else "RGB"
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
