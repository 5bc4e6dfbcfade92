"""The page of an audit of memorisation: the answer in sentences, then every copy beside its training image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whence import artefacts
from whence.audit.comparison import pixels_of_drawn
from whence.audit.memorisation import Hit, MemorisationAudit
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.errors import MismatchError
from whence.report.audit.sentences import memorisation_sentences
from whence.report.picture import CRISP, SMALL, Picture, data_uri
from whence.report.template import fill, fingerprints, flat_settings, versions

#: Pairs on the page; where there are no copies, so many of the closest pictures.
SHOWN, CLOSEST = 200, 12


@dataclass(frozen=True)
class Pair:
    """A drawn picture beside the training image that is nearest to it."""

    drawn: Picture
    image: Picture
    copies: int
    closeness: str
    without: str


def write_memorisation_page(audit: MemorisationAudit, data: Dataset, drawn: Examples, out: Path) -> Path:
    """Return the path of the page, written as one self-contained HTML file that replaces an older one.

    Raises:
        MismatchError: The pictures are not those of the audit.
    """
    if list(drawn.ids) != audit.drawn["id"]:
        raise MismatchError("The drawn pictures are not those of the audit. Give the pictures that it is of.")
    page = fill(
        "audit-memorisation.html.j2",
        styles=("report.css", "audit.css"),
        name="does the model give back training pictures?",
        version=str(audit.manifest.environment["whence"]),
        crisp=max(data.size[1:]) <= CRISP,
        sentences=memorisation_sentences(audit),
        hits=len(audit.hits),
        pairs=list(_pairs(audit, data, drawn)),
        threshold=f"{audit.threshold:.3g}",
        provenance={
            "Settings": flat_settings(audit.manifest.made),
            "Fingerprints": fingerprints(audit.manifest),
            "Versions": versions(audit.manifest),
        },
    )
    artefacts.write_bytes(out, page.encode())
    return out


def _pairs(audit: MemorisationAudit, data: Dataset, drawn: Examples) -> Iterator[Pair]:
    """The copies, or the closest pictures where there are none."""
    pixels, place = pixels_of_drawn(drawn), {name: q for q, name in enumerate(drawn.ids)}
    for hit in audit.hits[:SHOWN] or _closest(audit):
        image = data.pixels[data.index_of(hit.image)]
        without = "" if math.isnan(hit.without) else f"without it {hit.without:.3g} away, before {hit.before:.3g}"
        yield Pair(
            Picture(data_uri(pixels[place[hit.picture]], SMALL), f"Drawn picture {hit.picture}", hit.picture),
            Picture(data_uri(image, SMALL), f"Training image {hit.image}", hit.image),
            hit.copies,
            f"{hit.closeness:.3g}",
            without,
        )


def _closest(audit: MemorisationAudit) -> list[Hit]:
    """The closest pictures, none of which is a copy."""
    table = audit.drawn
    order = sorted(range(len(table["id"])), key=lambda q: float(table["closeness"][q]))[:CLOSEST]
    names = ("id", "image", "copies", "closeness", "distance")
    return [Hit(*(table[name][q] for name in names)) for q in order]
