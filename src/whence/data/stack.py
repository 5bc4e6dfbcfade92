"""Stacks: the images of a data set, decoded one after another, with notes on what was converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from whence.data.bit_depth import range_notes
from whence.data.buckets import Buckets, Shape
from whence.data.framing import Framing, framing
from whence.data.image_files import WIDE, Header, Source, header, open_image
from whence.data.pixel_rows import PixelRows
from whence.data.pixels import decode
from whence.errors import ConfigError, DataError, join_names
from whence.ragged import Ragged, count_shapes

#: Largest number of images that can't be read whose messages are given in full.
MOST = 20


@dataclass(frozen=True)
class Stack:
    """Images with one number of channels.

    Attributes:
        pixels: uint8 [n, C, H, W], with C = 1 if every image is grey and 3 otherwise; `Ragged` of several shapes.
        rows: Which of the given images they are, ascending [n].
        notes: What was converted.
        broken: Why each of the other images can't be read, by its name.
        framings: Which part of its original each shows; empty where all are whole originals.
    """

    pixels: np.ndarray | Ragged
    rows: Sequence[int]
    notes: list[str]
    broken: dict[str, str]
    framings: tuple[Framing, ...] = ()


def stack(
    names: Sequence[str],
    sources: Iterable[Source],
    *,
    resolution: int | None = None,
    buckets: Buckets | None = None,
    grey: bool = False,
    skip_broken: bool = False,
    kohya: bool = False,
) -> Stack:
    """Decode images of one size, or of the shapes of buckets. `sources` is read twice: first headers, then pixels.

    Args:
        names: What messages call the images (N, at least one).
        sources: The images, in the same order.
        resolution: Crop and scale every image to this height and width.
        buckets: Crop and scale every image to the shape that they have for it, where there is no resolution.
        grey: Use one channel, even where some images have colours.
        skip_broken: Leave out images that can't be decoded, and say which.
        kohya: Record crops as kohya's trainer does, and not as that of diffusers.

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
    headers = _headers(names, sources, broken)
    known = [image for image in headers if image is not None]
    _require_any(known, broken)
    channels = 1 if grey or all(image.grey for image in known) else 3
    if resolution is not None:
        buckets = Buckets((resolution, resolution), single=True)
    shapes = _shapes(known, buckets)
    full = {image: (channels, *shape) for image, shape in shapes.items()}
    pixels, lost, highest = PixelRows([full[image] for image in known]), set[int](), dict[int, int]()
    for n, (name, source, image) in enumerate(zip(names, sources, headers, strict=True)):
        lost.add(n)
        if image is not None:
            with _noted(broken, name):
                decoded = decode(source, name, channels=channels, buckets=buckets)
                if decoded.shape != full[image]:
                    raise DataError(f"{name} changed while it was read. Read the data again.")
                if image.deep and (decoded.any() or not _is_black(source, name)):
                    highest[n] = int(decoded.max())
                pixels.add(decoded)
                lost.remove(n)
    rows = [n for n in range(len(names)) if n not in lost] if lost else range(len(names))
    _require_any(rows, broken)
    if broken and not skip_broken:
        raise DataError(_together(broken))
    kept = [image for n in rows if (image := headers[n]) is not None]
    notes = [*range_notes(names, highest), *_notes((names[n] for n in rows), kept, channels)]
    notes += _shape_notes([shapes[image] for image in kept])
    return Stack(pixels.array(), rows, notes, broken, _framings(kept, shapes, kohya))


def _headers(names: Sequence[str], sources: Iterable[Source], broken: dict[str, str]) -> list[Header | None]:
    """Return the header of each image, equal ones as one value; None where it can't be read, which is noted."""
    found: list[Header | None] = []
    distinct: dict[Header, Header] = {}
    for name, source in zip(names, sources, strict=True):
        found.append(None)
        with _noted(broken, name):
            own = header(source, name)
            found[-1] = distinct.setdefault(own, own)
    return found


def _shapes(headers: Sequence[Header], buckets: Buckets | None) -> dict[Header, Shape]:
    """Return the height and width that images get, by their header."""
    distinct = dict.fromkeys(headers)
    if buckets is None:
        return dict.fromkeys(distinct, _common_size(headers))
    found = {image: buckets.of((image.width, image.height)) for image in distinct}
    return {image: (height, width) for image, (width, height) in found.items()}


def _framings(headers: Sequence[Header], shapes: Mapping[Header, Shape], kohya: bool) -> tuple[Framing, ...]:
    """Return the framing of each image by its header, from its height and width; none where all are whole originals."""
    if all((image.height, image.width) == shapes[image] for image in set(headers)):
        return ()
    pairs = ((image, shapes[image]) for image in headers)
    return tuple(framing((image.width, image.height), (shape[1], shape[0]), kohya) for image, shape in pairs)


def _shape_notes(shapes: Sequence[Shape]) -> list[str]:
    """A note on the shapes of images, where there are several."""
    return (
        [f"Images were scaled and cropped to several shapes: {count_shapes(shapes)}."] if len(set(shapes)) > 1 else []
    )


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


def _require_any(read: Sequence[object], broken: Mapping[str, str]) -> None:
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
            "Pass --resolution to crop and scale all of them to one square, and --buckets too to keep several shapes."
        )
    return next(iter(sizes))


def _notes(names: Iterable[str], headers: Sequence[Header], channels: int) -> list[str]:
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
