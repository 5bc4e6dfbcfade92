"""Many images to one array of pixels: headers first, then each image straight into its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from whence.data.pixels import Header, Source, decode, header
from whence.errors import ConfigError, DataError


def stack(
    names: Sequence[str], sources: Iterable[Source], *, resolution: int | None = None, grey: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Decode images of one size into one array; `sources` is gone through twice.

    Args:
        names: What messages call the images (N, at least one).
        sources: The images, in the same order.
        resolution: Crop and scale every image to this height and width.
        grey: One channel, even where some images have colours.

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
    channels = 1 if grey or all(found.grey for found in headers) else 3
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
    sizes = Counter((found.height, found.width) for found in headers)
    if len(sizes) > 1:
        common = [f"{width}x{height} ({count})" for (height, width), count in sizes.most_common(5)]
        more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
        raise DataError(
            f"The images have {len(sizes)} sizes: {', '.join(common)}{more}. "
            "Pass --resolution to crop and scale all of them to one square."
        )
    return next(iter(sizes))


def _notes(names: Sequence[str], headers: Sequence[Header], channels: int) -> list[str]:
    target = "L" if channels == 1 else "RGB"
    notes = []
    modes = Counter(found.mode for found in headers if found.mode != target)
    if modes:
        listed = ", ".join(f"{mode} ({count})" for mode, count in sorted(modes.items()))
        notes.append(f"Images converted to {target}: {listed}; transparent parts are white.")
    animated = [name for name, found in zip(names, headers, strict=True) if found.frames > 1]
    if animated:
        notes.append(f"Images with several frames, of which the first is used: {shorten(animated)}.")
    return notes


def shorten(names: Sequence[str], shown: int = 3) -> str:
    """Return a list of a few names that says how many more there are.

    Example:
        >>> shorten(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
