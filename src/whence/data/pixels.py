"""Images from files, bytes or Pillow to uint8 pixels.

An image is turned as its EXIF orientation says. Transparent parts become white. 16-bit grey is scaled
(not clipped) to 8 bit. Of several frames the first is used. A file that can't be decoded to its last
byte is an error. So is an image of more pixels than Pillow reads without a warning (89,478,485); the environment
variable ``WHENCE_MAX_PIXELS`` raises that limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from whence.data.bit_depth import range_notes
from whence.data.image_files import GREY, WIDE, Header, Source, header, open_image
from whence.data.pixel_rows import PixelRows
from whence.errors import ConfigError, DataError, join_names

#: Largest number of images that can't be read whose messages are given in full.
MOST = 20


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
    with open_image(source, name) as image:
        image.load()  # Pillow turns TIFF files here, and takes their orientation away
        flat = _flatten(ImageOps.exif_transpose(image), name)
        if resolution is not None:
            flat = _central_square(flat).resize((resolution, resolution), Image.Resampling.LANCZOS)
        array = np.array(flat.convert("L" if channels == 1 else "RGB"))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


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


@dataclass(frozen=True)
class Stack:
    """Images of one size in one array.

    Attributes:
        pixels: uint8 [n, C, H, W], with C = 1 if every image is grey and 3 otherwise.
        rows: Which of the given images they are, ascending [n].
        notes: What was converted.
        broken: Why each of the other images can't be read, by its name.
    """

    pixels: np.ndarray
    rows: list[int]
    notes: list[str]
    broken: dict[str, str]


def stack(
    names: Sequence[str],
    sources: Iterable[Source],
    *,
    resolution: int | None = None,
    grey: bool = False,
    skip_broken: bool = False,
) -> Stack:
    """Decode images of one size into one array. `sources` is read twice: first the headers, then the pixels.

    Args:
        names: What messages call the images (N, at least one).
        sources: The images, in the same order.
        resolution: Crop and scale every image to this height and width.
        grey: Use one channel, even where some images have colours.
        skip_broken: Leave out images that can't be decoded, and say which.

    Returns:
        The images; large data are in a temporary file, as in `PixelRows`.

    Raises:
        ConfigError: The resolution is not a positive number.
        DataError: Images can't be decoded, which are named together; sizes differ and no resolution was given, or
            images of 16 bits hold fewer.
    """
    if resolution is not None and resolution < 1:
        raise ConfigError(f"The resolution must be 1 pixel or more, not {resolution}.")
    broken: dict[str, str] = {}
    headers: dict[int, Header] = {}
    for n, (name, source) in enumerate(zip(names, sources, strict=True)):
        with _noted(broken, name):
            headers[n] = header(source, name)
    _require_any(headers, broken)
    channels = 1 if grey or all(image.grey for image in headers.values()) else 3
    height, width = (resolution, resolution) if resolution else _common_size(list(headers.values()))
    pixels, rows, highest = PixelRows(len(headers), (channels, height, width)), [], dict[int, int]()
    for n, (name, source) in enumerate(zip(names, sources, strict=True)):
        if n not in headers:
            continue
        with _noted(broken, name):
            image = decode(source, name, channels=channels, resolution=resolution)
            if image.shape != pixels.shape:
                raise DataError(f"{name} changed while it was read. Read the data again.")
            if headers[n].deep and (image.any() or not _is_black(source, name)):
                highest[n] = int(image.max())
            pixels.add(image)
            rows.append(n)
    _require_any(rows, broken)
    if broken and not skip_broken:
        raise DataError(_together(broken))
    read, kept = [names[n] for n in rows], [headers[n] for n in rows]
    return Stack(pixels.array(), rows, [*range_notes(names, highest), *_notes(read, kept, channels)], broken)


@contextmanager
def _noted(broken: dict[str, str], name: str) -> Iterator[None]:
    """Note the message of a `DataError` by the name of the image."""
    try:
        yield
    except DataError as error:
        broken[name] = str(error)


def _together(broken: Mapping[str, str]) -> str:
    """Return a message that has the messages of all images that can't be read, or of the first `MOST` of them."""
    texts = list(broken.values())
    if len(texts) == 1:
        return f"{texts[0]} --skip-bad leaves such images out."
    more = [f"... and {len(texts) - MOST:,} more"] if len(texts) > MOST else []
    lines = "\n  ".join([*texts[:MOST], *more])
    return f"{len(texts):,} images can't be read. --skip-bad leaves such images out.\n  {lines}"


def _require_any(read: Collection[int], broken: Mapping[str, str]) -> None:
    """Check that an image could be read; a `DataError` has the message of the first that couldn't."""
    if not read:
        first = next(iter(broken.values()))
        raise DataError(first if len(broken) == 1 else f"None of {len(broken)} images can be read. {first}")


def _is_black(source: Source, name: str) -> bool:
    """Whether all values of an image are 0. Of colours of 16 bits Pillow reads the upper 8 only, so False for them."""
    with open_image(source, name) as image:
        return image.mode in WIDE and not np.array(image).any()


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
