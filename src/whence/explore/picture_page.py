"""The page of a picture: who it is made of, by one reading, beside what looks alike; and of one drawn without units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from whence.ensemble import Samples
from whence.ensemble.influence import format_p_value
from whence.explore.collection import Collection, Entry
from whence.explore.page import Page, Thumb, address, image_thumb
from whence.explore.reading import Bars, Reading, Row
from whence.explore.request_error import UnknownNameError
from whence.explore.scatter import scatter_plot
from whence.explore.training import Training
from whence.explore.work import DRAWS, NO_ENSEMBLE, Removal, removal
from whence.report.ensemble.ablation_card import ablation_cards
from whence.report.ensemble.unit import TrainingImages
from whence.report.text import number, ordinal

#: Rows shown of a reading: of the largest effects, and of those below 0; images shown of a unit; and those most alike.
FIRST, LAST, IMAGES, ALIKE = 12, 4, 6, 8


@dataclass(frozen=True)
class Effect:
    """A row of a reading on the page."""

    name: str  # the unit or training image
    link: str  # address of its page
    row: Row
    number: str  # the effect
    interval: str  # its interval; empty where there is none
    chance: str  # its chances in words; empty where there are none
    bar: Markup  # the effect, its interval and the range of placebos
    alike: str  # how much its most similar image looks like the picture; empty where that is not known
    thumbs: tuple[Thumb, ...]  # some of its training images
    more: int  # how many more it has
    removal: Removal | None  # the picture without its units; None where that can't be drawn


@dataclass(frozen=True)
class Likeness:
    """How much training images, and so units, look like a picture: distances by pixels."""

    images: Mapping[str, float]  # by id; empty where none were kept or sizes differ
    units: Mapping[str, float]  # of the most similar image of every unit

    def of(self, reading: Reading) -> Mapping[str, float]:
        """Those of the rows of a reading."""
        return self.units if reading.of == "unit" else self.images

    def nearest(self, count: int) -> list[tuple[str, float]]:
        """The images with the smallest distances."""
        return sorted(self.images.items(), key=lambda pair: pair[1])[:count]


def picture_page(collection: Collection, name: str, by: str) -> Page:
    """Return the page of a picture, by a reading or by the first one that there is.

    Raises:
        UnknownNameError: There is no such picture or reading.
    """
    upload = collection.uploads.by_name.get(name)
    entry = collection.entries().get(name)
    if entry is None and upload is not None:
        entry = Entry(name, upload.caption, "your own picture, in the memory of the explorer")
    if entry is None:
        raise UnknownNameError("picture")
    pixels = upload.pixels if upload is not None else collection.pixels(name)
    training, titles = collection.training, collection.reading_titles(name)
    distances = {} if pixels is None else training.distances(pixels)
    likeness = Likeness(distances, training.unit_distances(distances))
    reading = collection.reading(name, by or next(iter(titles))) if by or titles else None
    near = likeness.nearest(ALIKE)
    values = {
        "entry": entry,
        "source": "" if pixels is None else address("/png", picture=name, size="large"),
        "reading": reading,
        "readings": [(title, address("/picture", name=name, by=key), key) for key, title in titles.items()],
        "nearest": [image_thumb(training, id, name, f"distance {number(far)}") for id, far in near],
        "can_measure": collection.ensemble is not None and "losses" not in titles,
        "draws": DRAWS,
        "command": collection.command if upload is not None else "",
        "noun": training.noun,
        "why_not": "" if collection.ensemble is not None else NO_ENSEMBLE,
        **(_reading_values(collection, entry, reading, likeness) if reading else {}),
    }
    facts, table = {"picture": name, "prompt": entry.prompt}, dict[str, list[Any]]()
    if reading is None:
        ids = sorted(distances, key=lambda id: distances[id])
        table = {"image": ids, "distance": [distances[id] for id in ids]}
        return Page("picture.html.j2", f"Picture {name}", values, table, facts)
    table = reading.table()
    far = likeness.of(reading)
    table["distance"] = [far.get(row.name) for row in reading.rows]
    facts |= {"reading": reading.title, "answer": reading.answer, "meaning": reading.meaning}
    return Page("picture.html.j2", f"Picture {name}", values, table, facts)


def _reading_values(collection: Collection, entry: Entry, reading: Reading, likeness: Likeness) -> dict[str, object]:
    top, bottom = reading.ends(FIRST, LAST)
    bars = Bars.of([*top, *bottom], reading.band)
    far = likeness.of(reading)
    places = {name: place for place, name in enumerate(sorted(far, key=lambda name: far[name]), start=1)}

    opened = dict[int, Samples]()

    def effects(rows: Sequence[Row]) -> list[Effect]:
        return [_effect(collection, entry, reading, row, bars, far, places, opened) for row in rows]

    return {
        "power": bars.power,
        "top": effects(top),
        "bottom": effects(bottom),
        "left_out": len(reading.rows) - len(top) - len(bottom),
        "scatter": scatter_plot(reading, far, collection.training.noun) if len(far) > 1 else "",
    }


def _effect(
    collection: Collection,
    entry: Entry,
    reading: Reading,
    row: Row,
    bars: Bars,
    far: Mapping[str, float],
    places: Mapping[str, int],
    opened: dict[int, Samples],
) -> Effect:
    training, is_unit = collection.training, reading.of == "unit"
    ids = training.images_of.get(row.name, []) if is_unit else [row.name]
    units = (row.name,) if is_unit else training.units_of(row.name)
    can_draw = collection.ensemble is not None and entry.drawn
    own = removal(collection, entry.name, units, opened) if can_draw else None
    return Effect(
        name=row.name,
        link=_link(training, row.name, is_unit, entry.name),
        row=row,
        number=bars.number(row),
        interval=bars.interval(row),
        chance=_chance_phrase(row),
        bar=bars.bar(row),
        alike=_alike_phrase(places[row.name], far[row.name]) if row.name in far else "",
        thumbs=tuple(image_thumb(training, id, entry.name, owned=not is_unit) for id in ids[:IMAGES]),
        more=max(0, len(ids) - IMAGES),
        removal=own if own is not None and own.plan is not None else None,
    )


def _alike_phrase(place: int, distance: float) -> str:
    return f"{ordinal(place)} most alike by pixels, distance {number(distance)}"


def _chance_phrase(row: Row) -> str:
    if row.chance is None or row.corrected is None:
        return ""
    return f"chance alone {format_p_value(row.chance)}, corrected {format_p_value(row.corrected)}"


def _link(training: Training, name: str, is_unit: bool, picture: str) -> str:
    """The page of a unit, or of an image; a unit that is one image has the page of that image."""
    if is_unit and training.grouped:
        return address("/unit", name=name, picture=picture)
    return address("/image", id=name, picture=picture)


def without_page(collection: Collection, wanted: Removal) -> Page:
    """Return the page of a picture without units: what was drawn, or the button that draws it, or why it can't be."""
    ablation, ensemble, training = wanted.ablation(), collection.ensemble, collection.training
    card = None
    if ablation is not None and ensemble is not None:
        [card] = ablation_cards([ablation], TrainingImages(ensemble.data, ensemble.codebook))
    ids = dict.fromkeys(id for unit in wanted.units for id in training.images_of[unit])
    values = {
        "wanted": wanted,
        "card": card,
        "listed": [image_thumb(training, id, wanted.picture) for id in list(ids)[:IMAGES]],
        "back": address("/picture", name=wanted.picture),
        "source": address("/png", picture=wanted.picture, size="large"),
    }
    table = dict[str, list[Any]]()
    facts: dict[str, Any] = {"picture": wanted.picture, "units": list(wanted.units), "drawn": ablation is not None}
    if ablation is not None:
        rows = {"counterfactual": ablation.distance, "placebo": ablation.placebo_distance}
        known = {kind: far for kind, far in rows.items() if far is not None}
        table = {"picture": list(known), "distance": list(known.values())}
        facts |= {"survivors": ablation.survivors}
    if card is not None:
        facts["answer"] = card.entries[0].comparison.sentence
    return Page("without.html.j2", f"Picture {wanted.picture} without {wanted.phrase}", values, table, facts)
