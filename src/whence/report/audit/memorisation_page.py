"""The page of an audit of memorisation: the answer in sentences, then each one found beside its training picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whence.audit.comparison import pixels_of_drawn
from whence.audit.memorisation import Hit, MemorisationAudit
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.errors import MismatchError
from whence.report.audit.memorisation_sentences import DISTANCE, memorisation_sentences
from whence.report.audit.page import write_audit_page
from whence.report.picture import SMALL, Picture, data_uri

#: Pairs on the page; where there are none, so many of the nearest pictures.
SHOWN, NEAREST = 200, 12


@dataclass(frozen=True)
class Pair:
    """A drawn picture beside the training image that is nearest to it."""

    drawn: Picture
    image: Picture
    copies: int
    distance: str
    without: str


def write_memorisation_page(audit: MemorisationAudit, data: Dataset, drawn: Examples, out: Path, *, model: str) -> Path:
    """Return the path of the page, written as one self-contained HTML file that replaces an older one.

    Raises:
        MismatchError: The pictures are not those of the audit.
    """
    if list(drawn.ids) != audit.drawn["id"]:
        raise MismatchError("The drawn pictures are not those of the audit. Give the pictures that it is of.")
    return write_audit_page(
        "audit-memorisation.html.j2",
        audit,
        out,
        model=model,
        size=data.size,
        name="does the model draw pictures that are nearly the same as training pictures?",
        sentences=memorisation_sentences(audit),
        hits=len(audit.hits),
        chosen=audit.mistakes is None,
        by=audit.manifest.made["by"],
        distance=DISTANCE,
        pairs=list(_pairs(audit, data, drawn)),
        threshold=f"{audit.threshold:.3f}",
    )


def _pairs(audit: MemorisationAudit, data: Dataset, drawn: Examples) -> Iterator[Pair]:
    """The pictures below the limit, or the nearest ones where there are none."""
    pixels, place = pixels_of_drawn(drawn), {name: q for q, name in enumerate(drawn.ids)}
    for hit in audit.hits[:SHOWN] or _nearest(audit):
        image = data.pixels[data.index_of(hit.image)]
        ablated = f"pixels differ by {hit.before:.3f}; drawn without it, by {hit.without:.3f}"
        yield Pair(
            _figure(pixels[place[hit.picture]], f"drawn picture {hit.picture}"),
            _figure(image, f"training picture {hit.image}"),
            hit.copies,
            f"{hit.closeness:.3f}",
            "" if math.isnan(hit.without) else ablated,
        )


def _figure(pixels: np.ndarray, name: str) -> Picture:
    return Picture(data_uri(pixels, SMALL), name.capitalize(), name)


def _nearest(audit: MemorisationAudit) -> list[Hit]:
    """The pictures with the smallest distances, all of them above the limit."""
    table = audit.drawn
    order = sorted(range(len(table["id"])), key=lambda q: float(table["closeness"][q]))[:NEAREST]
    names = ("id", "image", "copies", "closeness", "distance")
    return [Hit(*(table[name][q] for name in names)) for q in order]
