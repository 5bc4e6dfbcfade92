"""What notebooks show of an object: HTML without links, with small pictures inside, and plots as SVG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from whence import artefacts, images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Longest side of a small picture in pixels, and pictures that one object shows at most.
SIDE, MOST = 96, 24
#: Characters of a text that are shown at most.
LONGEST = 60


def shortened(text: str) -> str:
    """Return a text, cut after `LONGEST` characters."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def picture(pixels: np.ndarray | None, *lines: str) -> Markup:
    """A picture uint8 [C, H, W] as a small PNG inside the HTML, with lines of text below it; None is no picture."""
    image = Markup("")
    if pixels is not None:
        tag = Markup('<img src="{}" width="{}" style="image-rendering:pixelated" alt="">')
        image = tag.format(images.data_uri(pixels, SIDE), SIDE)
    texts = Markup("").join(Markup("<br>{}").format(shortened(line)) for line in lines)
    cell = Markup('<div style="display:inline-block;margin:4px;font-size:12px;vertical-align:top">{}{}</div>')
    return cell.format(image, texts)


def gallery(title: str, cells: Iterable[Markup]) -> str:
    """HTML of a title and at most `MOST` cells in rows; it says how many are not shown."""
    every = list(cells)
    more = Markup("<p>{} more are not shown.</p>").format(len(every) - MOST) if len(every) > MOST else ""
    return str(Markup("<div><b>{}</b><div>{}</div>{}</div>").format(title, Markup("").join(every[:MOST]), more))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Markup]]) -> str:
    """HTML of a title and a table; texts are escaped and cut."""
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in columns)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(_cell(value)) for value in row))
        for row in rows
    )
    return str(Markup("<div><b>{}</b><table><tr>{}</tr>{}</table></div>").format(title, head, body))


def _cell(value: str | Markup) -> Markup:
    return value if isinstance(value, Markup) else escape(shortened(value))


@dataclass(frozen=True)
class Plot:
    """A plot as SVG text. A notebook shows it."""

    svg: str

    @classmethod
    def of(cls, figure: Figure) -> Plot:
        """Return a figure of matplotlib as a plot; the same figure gives the same text."""
        from matplotlib import rc_context

        stream = io.StringIO()
        with rc_context({"svg.hashsalt": "whence", "svg.fonttype": "none", "text.parse_math": False}):
            figure.savefig(stream, format="svg", metadata={"Date": None}, bbox_inches="tight")
        return cls(stream.getvalue())

    def __repr__(self) -> str:
        return f"Plot({len(self.svg):,} characters of SVG; save(path) writes them)"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Write the plot to an SVG file; return its path."""
        artefacts.write_bytes(Path(path), self.svg.encode("utf-8"))
        return Path(path)
