"""Pictures that a visitor brings: checked, in the size of the training images, in memory alone."""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps

from whence.data import Dataset
from whence.data.image_files import open_image
from whence.data.pixels import decode
from whence.errors import WhenceError
from whence.explore.request_error import RequestError

#: Bytes of a file, and pixels that it may unpack to.
BYTES, PIXELS = 8 * 2**20, 40_000_000
#: Formats that are read, in Pillow's names.
FORMATS = ("PNG", "JPEG")
#: Characters of a caption, and pictures that are kept in memory; the oldest is forgotten first.
CAPTION, KEPT = 500, 64


@dataclass(frozen=True, eq=False)
class Upload:
    """A picture that a visitor brought."""

    name: str  # "upload-" and the beginning of its hash
    pixels: np.ndarray  # uint8 [C, H, W], in the size of the training images
    caption: str  # its caption; may be empty


@dataclass(frozen=True)
class Uploads:
    """The pictures that visitors brought."""

    size: tuple[int, ...] | None  # (C, H, W) of the training images; None where none were kept or there are several
    by_name: OrderedDict[str, Upload] = field(default_factory=OrderedDict)

    def add(self, file: bytes, caption: str) -> Upload:
        """Return a picture from the bytes of a PNG or JPEG file, cropped to the centre and resized as data are.

        Raises:
            RequestError: It is too large, no such file, or damaged; the caption is too long; or the size is not known.
        """
        if self.size is None:
            raise RequestError(
                409,
                "No training image was kept in this folder, or they have several shapes, so there is nothing to "
                "compare a picture to.",
            )
        if len(caption) > CAPTION or not caption.isprintable():
            raise RequestError(400, f"A caption is one line of at most {CAPTION} characters.")
        pixels = read_pixels(file, self.size)
        name = "upload-" + hashlib.sha256(pixels.tobytes() + caption.encode()).hexdigest()[:12]
        upload = self.by_name[name] = Upload(name, pixels, caption)
        self.by_name.move_to_end(name)
        while len(self.by_name) > KEPT:
            self.by_name.popitem(last=False)
        return upload


def common_size(data: Dataset) -> tuple[int, ...] | None:
    """Return the shape (C, H, W) of all images; None where they have several."""
    sizes = set(data.sizes)
    return sizes.pop() if len(sizes) == 1 else None


def read_pixels(file: bytes, size: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of a PNG or JPEG file, uint8 in the size (C, H, W).

    Raises:
        RequestError: It is too large, no such file, or damaged.
    """
    if not file:
        raise RequestError(400, "No file was chosen; choose a PNG or JPEG file.")
    if len(file) > BYTES:
        raise RequestError(413, f"The file is larger than {BYTES // 2**20} MB; make it smaller.")
    try:
        with open_image(file, "The picture") as image:
            kind, (width, height) = image.format, image.size
        if kind not in FORMATS:
            raise RequestError(415, "The file is no PNG and no JPEG; save the picture as one of them.")
        if width * height > PIXELS:
            raise RequestError(413, f"The picture has more than {PIXELS:,} pixels; make it smaller.")
        with warnings.catch_warnings(action="ignore"):
            return _resized(file, size)
    except WhenceError:
        raise RequestError(415, "The file is no picture that can be read; choose a PNG or JPEG file.") from None


def _resized(file: bytes, size: tuple[int, ...]) -> np.ndarray:
    """The central part of a picture in the proportions of `size`, scaled to it."""
    channels, height, width = size
    if height == width:
        return decode(file, "The picture", channels=channels, resolution=height)
    whole = decode(file, "The picture", channels=3)
    image = ImageOps.fit(Image.fromarray(np.moveaxis(whole, 0, -1)), (width, height), Image.Resampling.LANCZOS)
    array = np.array(image.convert("L" if channels == 1 else "RGB"))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)
