"""Where is my image: a search for training images and contributors, and the pictures that one of them mattered for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from whence.explore.collection import Collection
from whence.explore.page import Page, Thumb, address, image_thumb, picture_thumb
from whence.explore.reading import Bars, Mention
from whence.explore.request_error import UnknownNameError
from whence.explore.work import Removal, removal
from whence.report.text import number, ordinal, plural

#: Training images, contributors and pictures shown.
IMAGES, UNITS, PICTURES = 24, 40, 24


@dataclass(frozen=True)
class Match:
    """A picture that something was measured for."""

    thumb: Thumb  # the picture
    link: str  # its page, by this reading
    title: str  # the method
    number: str  # the effect
    interval: str  # its interval
    place: str  # its place among all
    label: str  # whether it stands out
    above: bool  # whether it does
    bar: Markup


def search_page(collection: Collection, search: str, like: str) -> Page:
    """Return the page of a search: by a text, or by a picture that a visitor brought, whose name is `like`.

    Raises:
        UnknownNameError: There is no such picture.
    """
    training = collection.training
    upload = collection.uploads.by_name.get(like)
    if like and upload is None:
        raise UnknownNameError("picture in the memory of the explorer")
    far = training.distances(upload.pixels) if upload else {}
    ids = sorted(far, key=lambda id: far[id]) if upload else training.search(search) if search else []
    units = training.search_units(search) if search and training.grouped else []
    lines = (
        {id: f"distance {number(far[id])}" if far[id] else "the same pixels" for id in ids[:IMAGES]} if upload else {}
    )
    values = {
        "search": search,
        "upload": upload,
        "upload_link": address("/picture", name=like),
        "upload_source": address("/png", picture=like),
        "listed": [image_thumb(training, id, "", *filter(None, [lines.get(id, "")])) for id in ids[:IMAGES]],
        "more": max(0, len(ids) - IMAGES),
        "units": [(unit, address("/unit", name=unit), len(training.images_of[unit])) for unit in units[:UNITS]],
        "more_units": max(0, len(units) - UNITS),
        "noun": training.noun,
        "can_upload": collection.uploads.size is not None,
        "kept": len(training.kept) if training.kept is not None else 0,
        "all": len(training.ids),
    }
    owners = [", ".join(training.units_of(id)) for id in ids]
    table: dict[str, list[Any]] = {"image": ids, "units": owners, "distance": [far.get(id) for id in ids]}
    return Page("where.html.j2", "Where is my image?", values, table, {"search": search, "units": units})


def image_page(collection: Collection, id: str, picture: str) -> Page:
    """Return the page of a training image: its contributors, and the pictures that it mattered for.

    Raises:
        UnknownNameError: There is no such image or picture.
    """
    training = collection.training
    if id not in training.rows:
        raise UnknownNameError("training image")
    units = training.units_of(id)
    own = training.pixels(id)
    values = {
        "heading": f"Training image {id}",
        "caption": training.caption(id),
        "source": address("/png", image=id, size="large") if own is not None else "",
        "units": [(unit, address("/unit", name=unit, picture=picture)) for unit in units] if training.grouped else [],
        "listed": [],
        "more": 0,
    }
    mentions = collection.mentions(None, id)
    return _subject_page(collection, f"Training image {id}", values, mentions, picture, units)


def unit_page(collection: Collection, unit: str, picture: str) -> Page:
    """Return the page of a contributor: the training images, and the pictures that they mattered for.

    Raises:
        UnknownNameError: There is no such contributor or picture.
    """
    training = collection.training
    if unit not in training.images_of:
        raise UnknownNameError(training.noun)
    ids = training.images_of[unit]
    values = {
        "heading": unit if training.grouped else f"Training image {unit}",
        "caption": plural(len(ids), "training image"),
        "source": "",
        "units": [],
        "listed": [image_thumb(training, id, picture) for id in ids[:IMAGES]],
        "more": max(0, len(ids) - IMAGES),
    }
    return _subject_page(collection, unit, values, collection.mentions(unit, None), picture, (unit,))


def _subject_page(
    collection: Collection,
    title: str,
    values: dict[str, object],
    mentions: Sequence[Mention],
    picture: str,
    units: Sequence[str],
) -> Page:
    own: Removal | None = removal(collection, picture, units) if picture else None
    above = sum(one.row.verdict == "above" for one in mentions)
    values |= {
        "matches": _matches(collection, mentions[:PICTURES]),
        "answer": _answer(mentions, above),
        "more_matches": max(0, len(mentions) - PICTURES),
        "wanted": own,
        "back": address("/picture", name=picture),
    }
    table: dict[str, list[Any]] = {
        "picture": [one.picture for one in mentions],
        "reading": [one.title for one in mentions],
        "unit_or_image": [one.row.name for one in mentions],
        "effect": [one.row.effect for one in mentions],
        "place": [one.place for one in mentions],
        "of": [one.count for one in mentions],
        "verdict": [one.row.label for one in mentions],
    }
    return Page("subject.html.j2", title, values, table, {"answer": values["answer"]})


def _answer(mentions: Sequence[Mention], above: int) -> str:
    pictures = len({one.picture for one in mentions})
    if not mentions:
        return "Nothing was measured yet that says which pictures it mattered for."
    if not above:
        return f"It stands out for none of {plural(pictures, 'picture')} that were measured."
    found = len({one.picture for one in mentions if one.row.verdict == "above"})
    return f"It stands out for {found:,} of {plural(pictures, 'picture')} that were measured."


def _matches(collection: Collection, mentions: Sequence[Mention]) -> list[Match]:
    entries = collection.entries()
    bars = {key: Bars.of([one.row for one in mentions if one.reading == key]) for key in {m.reading for m in mentions}}
    return [
        Match(
            thumb=picture_thumb(entries[one.picture]),
            link=address("/picture", name=one.picture, by=one.reading),
            title=one.title,
            number=f"{one.row.effect:.3g}".replace("-", "−"),
            interval=" to ".join(f"{end:.3g}".replace("-", "−") for end in one.row.interval or ()),
            place=f"{ordinal(one.place)} of {one.count:,}",
            label=one.row.label,
            above=one.row.verdict == "above",
            bar=bars[one.reading].bar(one.row),
        )
        for one in mentions
    ]
