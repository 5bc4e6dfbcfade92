"""The page of an audit of training data: groups first, then the images that stand out, sorted by any number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whence.audit.data_audit import DataAudit
from whence.data import Dataset
from whence.errors import MismatchError
from whence.report.audit.page import write_audit_page
from whence.report.picture import SMALL, Picture, data_uri, quoted

#: Images that are shown by each number, and groups.
SHOWN, GROUPS = 60, 60
#: The first sentence of the audit, on the page and where it is printed.
CAUTION = (
    "How often these numbers are wrong on your pictures is not known. Standing out does not mean that a picture is "
    "bad: look at it first."
)


@dataclass(frozen=True)
class ImageCard:
    """An image that stands out.

    Attributes:
        picture: The image.
        units: Its units.
        values: Its numbers as text, in the order of the columns.
        ranks: Its place by each number, from 1, by name of the number.
        notes: The nearest image and the caption that fits better, where they say something.
    """

    picture: Picture
    units: str
    values: list[str]
    ranks: dict[str, int]
    notes: list[str]


def write_data_page(audit: DataAudit, data: Dataset, out: Path, *, model: str) -> Path:
    """Return the path of the page, written as one self-contained HTML file that replaces an older one.

    Images are sorted by the style sheet, so the page runs no script.

    Raises:
        MismatchError: The images are not those of the audit.
    """
    if list(data.ids) != audit.table["id"]:
        raise MismatchError("The images are not those of the audit, or in another order. Give the data that it is of.")
    units = audit.groups[:GROUPS]
    return write_audit_page(
        "audit-data.html.j2",
        audit,
        out,
        model=model,
        size=data.size,
        name="training images that stand out",
        caution=CAUTION,
        count=len(data),
        columns=audit.columns,
        sorted_by=[column for column in audit.columns if audit.standing_out(column.name, 1)] or audit.columns[:1],
        groups=[(group.name, len(group.rows), [_number(value) for value in group.means.values()]) for group in units],
        group_count=len(audit.groups),
        cards=list(_cards(audit, data)),
        shown=SHOWN,
    )


def _cards(audit: DataAudit, data: Dataset) -> Iterator[ImageCard]:
    """The images that stand out by any number."""
    orders = {column.name: audit.worst(column.name, len(data)) for column in audit.columns}
    rows = sorted({n for order in orders.values() for n in order[:SHOWN]})
    places = {name: {n: place for place, n in enumerate(order, 1)} for name, order in orders.items()}
    for n in rows:
        id, caption = data.ids[n], data.captions[n]
        picture = Picture(data_uri(data.pixels[n], SMALL), f"Training image {id}", id, quoted(caption or ""))
        units = ", ".join(unit for unit in data.units[n] if unit != id)
        values = [_number(audit.values(column.name)[n]) for column in audit.columns]
        yield ImageCard(picture, units, values, {name: of[n] for name, of in places.items()}, _notes(audit, n))


def _notes(audit: DataAudit, n: int) -> list[str]:
    notes = []
    if audit.table["copies"][n] > 1:
        notes.append(f"same or nearly: {audit.table['nearest'][n]}")
    if "best_caption" in audit.table and audit.table["caption_excess"][n] > 0:
        notes.append(f"fits better: “{audit.table['best_caption'][n]}”")
    return notes


def _number(value: float) -> str:
    """A number as it can be read at a glance; all that are no whole numbers have three decimals."""
    return "–" if np.isnan(value) else f"{value:,.0f}" if value == int(value) else f"{value:.3f}"
