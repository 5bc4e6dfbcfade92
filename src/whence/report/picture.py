"""Pictures of a page. They are inside the HTML file, as PNG data URIs, each with a text for it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from PIL import Image

from whence import images
from whence.report.text import shorten

#: Longest side in pixels of a large picture and of a small one.
LARGE, SMALL = 256, 128
#: Pictures up to this side are enlarged with sharp pixels.
CRISP = 64


@dataclass(frozen=True)
class Picture:
    """A picture with what is written below it."""

    source: str  # data URI
    text: str  # what it shows, for those who can't see it
    name: str  # first line below it
    details: tuple[str, ...] = ()  # further lines below it
    link: str = ""  # place on the page that it leads to, or empty


def quoted(caption: str) -> tuple[str, ...]:
    """The line with a caption or prompt below a picture; no line for an empty one."""
    return (f"“{shorten(caption)}”",) if caption else ()


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
    return images.png(pixels)
