"""Training images on the page: those of units, their identical twins, and those most like a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from whence import images
from whence.data import Dataset
from whence.ensemble import Codebook
from whence.ensemble.influence import Influence, format_p_value
from whence.ensemble.landscape import Landscape
from whence.report.picture import SMALL, Picture, data_uri, quoted
from whence.report.text import number, plural, unit_phrase
from whence.scores.scores import Scores

#: Training images shown of removed units, and of those most like a picture.
SHOWN, CLOSEST = 12, 5


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The training examples of an ensemble, as the report shows them."""

    data: Dataset  # the training examples
    codebook: Codebook  # which member saw which unit

    @cached_property
    def grouped(self) -> bool:
        """Whether some unit has several training images, or some training image has several units."""
        return len(self.data.unit_ids) != len(self.data) or any(len(units) > 1 for units in self.data.units)

    def of_units(self, units: Sequence[str]) -> list[int]:
        """Indices of the training examples of any of the units, ascending."""
        return sorted({int(n) for unit in units for n in self.data.examples_of(unit)})

    def picture(self, n: int, *details: str, known: Sequence[str] = ()) -> Picture:
        """Training example n with its id, caption and units, but for units that are its id or that the reader knows."""
        id, units, caption = self.data.ids[n], self.data.units[n], self.data.captions[n]
        lines = [] if units in ((id,), tuple(known)) else [unit_phrase(units)]
        lines += quoted(caption or "")
        return Picture(data_uri(self.data.pixels[n], SMALL), f"Training image {id}", id, (*details, *lines))

    def closest(self, likeness: Scores, query: str) -> list[Picture]:
        """The training images with the largest scores for a query, with their distances."""
        best = likeness.top(query, CLOSEST)
        return [self.picture(self.data.index_of(name), f"distance {number(abs(score))}") for name, score in best]

    def closest_units(self, likeness: Scores, query: str) -> list[str]:
        """The units whose most similar image has the largest scores for a query: "anna (2.31)"."""
        distances: dict[str, float] = {}
        for name, score in likeness.top(query, len(self.data)):
            for unit in self.data.units[self.data.index_of(name)]:
                distances.setdefault(unit, abs(score))
            if len(distances) >= CLOSEST:
                break
        return [f"{unit} ({number(distance)})" for unit, distance in list(distances.items())[:CLOSEST]]

    def twin_notes(self, units: Sequence[str], survivors: Sequence[int]) -> list[str]:
        """One sentence for each removed image that has an identical twin which is not removed."""
        removed = dict.fromkeys(self.of_units(units))
        return [
            self._twin_note(n, twin, survivors)
            for n in removed
            for twin in self._copies[self.data.fingerprints[n]]
            if twin not in removed
        ]

    def _twin_note(self, n: int, twin: int, survivors: Sequence[int]) -> str:
        """How many of the survivors were trained on the twin, and so on the pixels of the removed image."""
        columns = self.codebook.columns(self.data.units[twin])
        count = int(self.codebook.bits[np.ix_(list(survivors), columns)].all(axis=1).sum())
        ids, owners = self.data.ids, unit_phrase(self.data.units[twin])
        start = f"Training image {ids[n]} has an identical twin, {ids[twin]} of {owners}, which was not removed: "
        if not count:
            return start + "none of the surviving members was trained on it."
        members = plural(len(survivors), "surviving member")
        return start + f"{count} of {members} did see the twin, and so the same pixels."

    @cached_property
    def _copies(self) -> dict[str, list[int]]:
        """Indices of the training examples of every fingerprint."""
        copies: dict[str, list[int]] = {}
        for n, fingerprint in enumerate(self.data.fingerprints):
            copies.setdefault(fingerprint, []).append(n)
        return copies


#: Training images shown of a unit, and notes on their twins.
EXAMPLES, TWINS = 6, 3


@dataclass(frozen=True)
class UnitRow:
    """What a picture looks like without a unit."""

    title: str  # "Unit 17"
    pictures: tuple[Picture, Picture, Picture]  # the picture, the same without the unit, and the change
    examples: tuple[Picture, ...]  # training images of the unit
    left_out: int  # how many of them are not shown
    twins: tuple[str, ...]  # notes on identical images that were not removed
    members: str  # how many members drew it
    distance: str  # how far it moved
    alone: str  # chance of a distance as large for a unit that doesn't matter; empty without placebos
    corrected: str  # the same corrected for the number of units


def unit_row(landscape: Landscape, unit: str, factual: Tensor, reading: Influence, training: TrainingImages) -> UnitRow:
    """One unit of a landscape, with the landscape's factual picture and distances; one shard of pictures is read."""
    removed, row = landscape.together or (unit,), reading.units.index(unit)
    counterfactual, survivors = landscape.counterfactual(unit), training.codebook.survivors(removed)
    name, phrase = f"Picture {landscape.sample}", unit_phrase(removed)
    change = data_uri(images.difference(factual, counterfactual), SMALL)
    without = "Without them" if landscape.together else "Without it"
    examples = training.of_units(removed)
    has_placebos = bool(len(reading.placebos))
    return UnitRow(
        title=phrase[0].upper() + phrase[1:],
        pictures=(
            Picture(data_uri(images.to_pixels(factual), SMALL), name, name),
            Picture(data_uri(images.to_pixels(counterfactual), SMALL), f"{name} without {phrase}", without),
            Picture(change, f"{name} without {phrase}: what changed, mid grey where nothing did", "Change"),
        ),
        examples=tuple(training.picture(n, known=removed) for n in examples[:EXAMPLES]),
        left_out=max(0, len(examples) - EXAMPLES),
        twins=tuple(training.twin_notes(removed, survivors)[:TWINS]),
        members=plural(len(survivors), "member"),
        distance=number(float(reading.effects[row])),
        alone=format_p_value(float(reading.p_values[row])) if has_placebos else "",
        corrected=format_p_value(float(reading.adjusted_p_values[row])) if has_placebos else "",
    )
