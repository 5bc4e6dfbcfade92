"""Pictures of a page. They are inside the HTML file, as PNG data URIs, each with a text for it."""

from __future__ import annotations

from dataclasses import dataclass

from whence.images import LARGE as LARGE
from whence.images import data_uri as data_uri
from whence.images import shrunk_png as shrunk_png
from whence.report.text import shorten

#: Longest side in pixels of a small picture; of a large one it is LARGE.
SMALL = 128
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
