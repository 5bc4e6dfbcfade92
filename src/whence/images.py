"""Pictures as tensors, as pixels and as PNG files."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from whence import artefacts
from whence.errors import ConfigError, DataError, NotFiniteError, WhenceWarning
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Longest side of a large picture inside a page, in pixels.
LARGE = 256
#: Largest excess over 1 that rounding may give a value.
TOLERANCE = 1e-3
#: Values of pictures that reach so far up and not below 0 look like a range of 0 to 1.
BRIGHT = 0.9


def to_tensor(pictures: Any) -> Tensor:
    """Return pictures, a tensor or an array, as a tensor that needs no gradient.

    Raises:
        DataError: They are something else, such as a list of pictures of several sizes.

    Example:
        >>> to_tensor(np.zeros((2, 1, 8, 8), np.float32)).shape
        torch.Size([2, 1, 8, 8])
    """
    try:
        return torch.as_tensor(pictures if isinstance(pictures, torch.Tensor) else np.array(pictures)).detach()
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"A tensor or an array of numbers is expected; given is a {type(pictures).__name__}. A list of pictures of "
            "one size is made a tensor by torch.stack."
        ) from None


def named_pictures(pictures: Any, names: Sequence[str], tolerance: float = TOLERANCE) -> Tensor:
    """Return pictures [n, C, H, W] that a caller gave, with a name each, as a tensor, checked by `require_pictures`.

    Raises:
        ConfigError: A name is no text.
        DataError: They are no pictures [n, C, H, W] in [-1, 1], or have not as many distinct names.
        NotFiniteError: A value is NaN or infinite.
    """
    x = to_tensor(pictures)
    if x.ndim != 4:
        raise DataError(f"Pictures must have the shape [n, C, H, W]; given {list(x.shape)}. One picture is x[None].")
    require_names(names, len(x))
    require_pictures(x, names, tolerance)
    return x


def require_names(names: Sequence[str], count: int) -> None:
    """Check that each of `count` pictures has a name of its own.

    Raises:
        ConfigError: A name is no text.
        DataError: There are more or fewer names, or names repeat.
    """
    require_texts(names)
    if len(names) != count or len(set(names)) < count:
        raise DataError(f"{count} pictures need as many distinct names; given {len(set(names))}.")


def require_texts(names: Sequence[str]) -> None:
    """Check that names of pictures are texts in UTF-8 that are not empty.

    Raises:
        ConfigError: A name is something else, or one text is given for all names.
    """
    if isinstance(names, str):
        raise ConfigError(f"The names of the pictures are the text {names!a}; give a list with a name for each.")
    for name in names:
        if (
            not isinstance(name, str)
            or not name
            or not name.isascii()
            and name != name.encode("utf-8", "replace").decode()
        ):
            raise ConfigError(f"A picture has the name {name!a}. A name is a text in UTF-8 that is not empty.")


def require_floats(x: Tensor) -> None:
    """Check that pictures are floating point numbers.

    Raises:
        DataError: They are integers, such as pixels of 0 ... 255, or truth values.
    """
    if not x.is_floating_point():
        raise DataError(
            f"The pictures are {x.dtype}; floating point numbers in [-1, 1] are expected. whence.images.from_pixels "
            "makes them of pixels uint8."
        )


def require_pictures(x: Tensor, ids: Sequence[str], tolerance: float = TOLERANCE, warn: bool = True) -> None:
    """Check that the values of pictures [n, C, H, W] are floats, finite and in [-1, 1], up to a tolerance.

    All values in [0, 1], a likely mistake that can't be told from bright pictures, are a `WhenceWarning` if `warn`.

    Raises:
        NotFiniteError: A value is NaN or infinite.
        DataError: A value is outside of the range, or values are no floating point numbers.
    """
    require_floats(x)
    rows = x.flatten(1)
    for bad in (~torch.isfinite(rows)).any(1).nonzero().flatten()[:1].tolist():
        raise NotFiniteError(f"The picture {ids[bad]!r} has values that are not finite. Leave it out or restore it.")
    outside = (rows.abs() > 1 + tolerance).any(1).nonzero().flatten().tolist()
    if outside:
        first, count = rows[outside[0]], len(outside)
        raise DataError(
            f"The values of {ids[outside[0]]!r} are between {first.min():g} and {first.max():g} ({count} of {len(x)} "
            f"pictures {'is' if count == 1 else 'are'} outside [-1, 1]). Scale pixels of 0 ... 255 by x / 127.5 - 1."
        )
    if warn:
        warn_of_range(x, "pictures")


def warn_of_range(x: Tensor, noun: str) -> None:
    """Warn where pictures all lie in [0, 1] and some are bright; `noun` is what the warning calls them."""
    if len(x) and x.min() >= 0 and BRIGHT <= x.max() <= 1 + TOLERANCE:
        warnings.warn(
            f"The values of all {len(x)} {noun} are in [0, 1]; Whence expects [-1, 1]. If black is 0, scale them by "
            "2 x - 1.",
            WhenceWarning,
            stacklevel=4,
        )


def from_pixels(pixels: Tensor) -> Tensor:
    """Return pictures float32 in [-1, 1] of pixels uint8: x = pixel / 127.5 - 1.

    Example:
        >>> from_pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
        [-1.0, 1.0]

    Raises:
        DataError: The pixels are no uint8.
    """
    if pixels.dtype != torch.uint8:
        raise DataError(f"Pixels must be uint8, 0 ... 255; given {pixels.dtype}.")
    return pixels.float() / 127.5 - 1


def to_pixels(pictures: Tensor) -> np.ndarray:
    """Return the nearest pixels uint8 [..., C, H, W] of pictures in [-1, 1].

    Example:
        >>> to_pixels(torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [0, 128, 255]

    Raises:
        DataError: The pictures are no floating point numbers.
    """
    require_floats(pictures)
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


def difference(a: Tensor, b: Tensor) -> np.ndarray:
    """uint8 picture of b - a: mid grey where they agree, brighter where b is brighter, darker where b is darker."""
    return ((b - a).clamp(-2, 2) * 63.75 + 127.5).round().to(torch.uint8).numpy()


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Return Euclidean distance over the pixels in [0, 1] of pictures [..., C, H, W] in [-1, 1].

    Example:
        >>> distance(-torch.ones(1, 2, 2), torch.ones(1, 2, 2)).item()
        2.0
    """
    norm: Tensor = torch.linalg.vector_norm((a.double() - b.double()).flatten(-3), dim=-1)
    return norm / 2


def enlarge(pixels: np.ndarray, side: int = 96) -> np.ndarray:
    """Repeat pixels by a whole number so that the longer side is at least `side`; uint8 [..., C, h, w]."""
    factor = max(1, math.ceil(side / max(pixels.shape[-2:])))
    return pixels.repeat(factor, axis=-2).repeat(factor, axis=-1)


def sheet(pixels: np.ndarray, columns: int = 8, side: int = 96, gap: int = 4) -> np.ndarray:
    """A grid of pictures uint8 [K, C, H, W], row by row on white, as one picture uint8 [C, h, w]."""
    large = enlarge(pixels, side)
    count, channels, height, width = large.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    page = np.full((channels, rows * (height + gap) + gap, columns * (width + gap) + gap), 255, np.uint8)
    for k, picture in enumerate(large):
        top, left = gap + (k // columns) * (height + gap), gap + (k % columns) * (width + gap)
        page[:, top : top + height, left : left + width] = picture
    return page


def png(pixels: np.ndarray) -> bytes:
    """PNG of one picture uint8 [C, H, W], C = 1 or 3."""
    array = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(stream, format="PNG")
    return stream.getvalue()


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write one picture uint8 [C, H, W] as a PNG file."""
    artefacts.write_bytes(path, png(pixels))


def data_uri(pixels: np.ndarray, longest: int = LARGE) -> str:
    """Return the PNG data URI of a picture uint8 [C, H, W], shrunk where a side is above `longest`."""
    return "data:image/png;base64," + base64.b64encode(shrunk_png(pixels, longest)).decode("ascii")


def shrunk_png(pixels: np.ndarray, longest: int) -> bytes:
    """Return the PNG of a picture uint8 [C, H, W], shrunk where a side is above `longest`."""
    height, width = pixels.shape[-2:]
    factor = longest / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX)) for plane in pixels])
    return png(pixels)
