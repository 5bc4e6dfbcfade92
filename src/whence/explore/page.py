"""Pages: the values of a template, and the same as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from whence.explore.collection import Collection, Entry
from whence.explore.request_error import RequestError
from whence.explore.training import Training
from whence.explore.work import next_seed, usual_guidance
from whence.report.text import plural, shorten

#: Pictures on one page.
PICTURES = 48
#: Characters of a caption or prompt on a page.
CAPTION = 120


@dataclass(frozen=True)
class Page:
    """A page."""

    template: str  # file of its template
    title: str  # its title
    values: Mapping[str, Any]  # values of the template
    table: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # what it shows, as columns, for CSV and JSON
    facts: Mapping[str, Any] = field(default_factory=dict)  # what it says beside the table, for JSON


@dataclass(frozen=True)
class Thumb:
    """A small picture with a link."""

    source: str  # address of its PNG; empty where its pixels were not kept
    text: str  # what it shows, for those who can't see it
    name: str  # first line below it
    link: str  # address of its page
    lines: tuple[str, ...] = ()  # further lines below it


def address(path: str, **values: str | Sequence[str]) -> str:
    """Return an address with parameters, without those that are empty.

    Example:
        >>> address("/picture", name="0/3", by="")
        '/picture?name=0%2F3'
    """
    given = {name: value for name, value in values.items() if value}
    return path + ("?" + urlencode(given, doseq=True) if given else "")


def picture_thumb(entry: Entry) -> Thumb:
    """A picture of the collection."""
    source = address("/png", picture=entry.name) if entry.shown else ""
    text = f"Picture {entry.name}"
    return Thumb(source, text, entry.name, address("/picture", name=entry.name), quote(entry.prompt))


def image_thumb(training: Training, id: str, picture: str = "", *lines: str, owned: bool = True) -> Thumb:
    """Return a training image with its caption and, if `owned` and it isn't a unit by itself, its contributors.

    The link leads to its page, which can lead back to a picture.
    """
    source = address("/png", image=id) if training.pixels(id) is not None else ""
    owners = (", ".join(training.units_of(id)),) if training.grouped and owned else ()
    link = address("/image", id=id, picture=picture)
    return Thumb(source, f"Training image {id}", id, link, (*lines, *quote(training.caption(id)), *owners))


def quote(text: str) -> tuple[str, ...]:
    """The line with a caption or prompt; no line for an empty one."""
    return (f"“{shorten(text, CAPTION)}”",) if text else ()


def start_page(collection: Collection, search: str, number: int) -> Page:
    """Return the first page: the pictures whose name or prompt contains a text, a part of them at a time.

    Raises:
        RequestError: There is no such part.
    """
    wanted = search.casefold()
    found = [
        entry
        for entry in collection.entries().values()
        if wanted in entry.name.casefold() or wanted in entry.prompt.casefold()
    ]
    count = max(1, -(-len(found) // PICTURES))
    if number > count:
        raise RequestError(404, "There are not so many pictures.")
    shown = found[(number - 1) * PICTURES : number * PICTURES]
    ensemble, training = collection.ensemble, collection.training
    units = f" of {plural(len(training.images_of), 'contributor')}" if training.grouped else ""
    values = {
        "listed": [picture_thumb(entry) for entry in shown],
        "count": len(found),
        "all": len(collection.entries()),
        "search": search,
        "number": number,
        "pages": [
            (k, address("/", q=search, page=str(k) if k > 1 else ""))
            for k in range(1, count + 1)
            if k in (1, count) or abs(k - number) <= 2
        ],
        "about": f"{plural(len(training.ids), 'training image')}{units}",
        "can_draw": ensemble is not None,
        "can_upload": collection.uploads.size is not None,
        "takes_text": ensemble is not None and ensemble.base is not None,
        "seed": next_seed(ensemble) if ensemble is not None else 0,
        "guidance": usual_guidance(ensemble) if ensemble is not None else 1.0,
    }
    table = {name: [getattr(entry, name) for entry in found] for name in ("name", "prompt", "origin")}
    return Page("start.html.j2", collection.path.resolve().name, values, table)
