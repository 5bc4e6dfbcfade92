"""Training images for the report: those that were removed, their twins, and those most like a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whence.data import Dataset
from whence.ensemble import Codebook
from whence.report.pictures import SMALL, Picture, data_uri
from whence.report.words import counted, named, number
from whence.scores.scores import Scores

#: Training images shown of the removed units, and of those most like a picture.
SHOWN, CLOSEST = 12, 5


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The training examples of an ensemble, as the report shows them.

    Attributes:
        data: The training examples.
        codebook: Which member saw which unit.
    """

    data: Dataset
    codebook: Codebook

    @cached_property
    def grouped(self) -> bool:
        """Whether some unit is more than one training image, or some training image in several units."""
        return len(self.data.unit_ids) != len(self.data) or any(len(own) > 1 for own in self.data.units)

    def of_units(self, units: Sequence[str]) -> dict[int, None]:
        """Indices of the training examples of any of the units, ascending."""
        return dict.fromkeys(sorted({int(n) for unit in units for n in self.data.examples_of(unit)}))

    def picture(self, n: int, *details: str, known: Sequence[str] = ()) -> Picture:
        """Training example n with its id, its units and its caption.

        Args:
            n: Its index.
            details: Lines to write before these.
            known: Units that the reader expects; example units are named only where they are others.

        Returns:
            The picture, with units that say no more than the id left out.
        """
        own, caption = self.data.units[n], self.data.captions[n]
        lines = [] if own in ((self.data.ids[n],), tuple(known)) else [named(own)]
        lines += [f"“{shorten(caption)}”"] if caption else []
        return Picture(
            source=data_uri(self.data.pixels[n], SMALL),
            text=f"Training image {self.data.ids[n]}",
            name=self.data.ids[n],
            details=(*details, *lines),
        )

    def closest(self, likeness: Scores, query: str) -> list[Picture]:
        """The training images with the largest scores for a query, with their distances."""
        return [
            self.picture(self.data.index_of(name), f"distance {number(abs(score))}")
            for name, score in likeness.top(query, CLOSEST)
        ]

    def closest_units(self, likeness: Scores, query: str) -> list[str]:
        """The units whose most alike image has the largest scores for a query: "anna (2.31)"."""
        found: dict[str, float] = {}
        for name, score in likeness.top(query, len(self.data)):
            for unit in self.data.units[self.data.index_of(name)]:
                found.setdefault(unit, abs(score))
            if len(found) >= CLOSEST:
                break
        return [f"{unit} ({number(distance)})" for unit, distance in list(found.items())[:CLOSEST]]

    def twin_notes(self, units: Sequence[str], survivors: Sequence[int]) -> list[str]:
        """One sentence for each removed image that has an identical twin which is not removed."""
        removed = self.of_units(units)
        return [
            self._twin_note(n, twin, survivors)
            for n in removed
            for twin in self._copies[self.data.fingerprints[n]]
            if twin not in removed
        ]

    def _twin_note(self, n: int, twin: int, survivors: Sequence[int]) -> str:
        """Which of the survivors saw the twin, and so the removed image's pixels."""
        columns = self.codebook.columns(self.data.units[twin])
        seen = int(self.codebook.bits[np.ix_(list(survivors), columns)].all(axis=1).sum())
        start = (
            f"Training image {self.data.ids[n]} has an identical twin, {self.data.ids[twin]} of "
            f"{named(self.data.units[twin])}, which was not removed: "
        )
        if not seen:
            return start + "none of the surviving members was trained on it."
        members = counted(len(survivors), "surviving member")
        return start + f"{seen} of {members} did see the twin, and so the same pixels."

    @cached_property
    def _copies(self) -> dict[str, list[int]]:
        """Indices of the training examples of every fingerprint."""
        found: dict[str, list[int]] = {}
        for n, fingerprint in enumerate(self.data.fingerprints):
            found.setdefault(fingerprint, []).append(n)
        return found


def shorten(text: str, longest: int = 48) -> str:
    """Return the text, cut at `longest` characters.

    Example:
        >>> shorten("a cat", 3)
        'a c…'
    """
    return text if len(text) <= longest else text[:longest].rstrip() + "…"
