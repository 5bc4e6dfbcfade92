"""A card for each picture that was drawn again without something: pictures, distances and what they show.

One placebo can show that a change is no larger than the change that fewer members make anyway, and not that a change
is due to the unit. No sentence here says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from whence import images
from whence.ensemble import Ablation
from whence.errors import join_names
from whence.report.ensemble.unit import SHOWN, TrainingImages
from whence.report.picture import Picture, data_uri
from whence.report.text import number, plural, unit_phrase
from whence.scores.scores import Scores
from whence.similarity.attributors import pixel

#: Ablations shown.
ABLATIONS = 100
#: A counterfactual this many times as far away as its placebo is called a hint.
HINT = 1.5
#: Distances within this factor are called the same.
SAME = 1.1


@dataclass(frozen=True)
class Comparison:
    """The distances of an ablation, and what they mean in words."""

    units: tuple[str, ...]  # the units that were removed, or with `keep_only` required
    keep_only: bool  # whether the members that saw the units drew the picture
    distance: float  # distance from the picture to the counterfactual
    placebo: float | None  # distance from the picture to the placebo; None where no placebo could be drawn

    @property
    def is_hint(self) -> bool:
        """Whether the counterfactual is clearly farther away than the placebo."""
        return self.placebo is not None and self.distance > 0 and self.distance >= HINT * self.placebo

    @property
    def title(self) -> str:
        """What was done: "Without unit 17"."""
        phrase = unit_phrase(self.units)
        return f"Only members that saw {phrase}" if self.keep_only else f"Without {phrase}"

    @property
    def label(self) -> str:
        """The outcome in a few words."""
        if self.placebo is None:
            return "No placebo to compare with"
        if self.is_hint:
            return "Farther than the placebo: a hint"
        if self.distance * SAME < self.placebo:
            return "Less far than the placebo"
        return "No clear difference from the placebo"

    @property
    def sentence(self) -> str:
        """How far the picture moved, how far the placebo moved it, and what that means."""
        if self.placebo is not None:
            return f"{self._change} {self._placebo_change(self.placebo)}{self._meaning(self.placebo)}"
        return (
            f"{self._change} No placebo could be drawn: no code word was found that leaves as many members and belongs "
            f"to no unit. So the effect of {unit_phrase(self.units)} can't be told from the effect of averaging fewer "
            "members."
        )

    @property
    def _change(self) -> str:
        change = f"moves by {number(self.distance)}" if self.distance else "does not change at all"
        if self.keep_only:
            return f"Drawn only by the members that saw {unit_phrase(self.units)}, the picture {change}."
        return f"Without {unit_phrase(self.units)} the picture {change}."

    def _placebo_change(self, placebo: float) -> str:
        nobody = "a code word that belongs" if len(self.units) == 1 else "code words that belong"
        if self.keep_only:
            verb = f"move it by {number(placebo)}" if placebo else "do not change it"
            return f"As many members, chosen by {nobody} to nobody, {verb}"
        verb = f"moves it by {number(placebo)}" if placebo else "does not change it"
        return f"Leaving out as many members for {nobody} to nobody {verb}"

    def _meaning(self, placebo: float) -> str:
        hint = "One placebo can't tell influence from luck: this is a hint, not a finding."
        nothing = f"this single comparison gives no reason to credit {unit_phrase(self.units)}."
        if self.is_hint:
            if not placebo:
                return f". {hint}"
            return f", so the picture moved {self.distance / placebo:.1f} times as far as the placebo. {hint}"
        if not self.distance:
            return f", and {nothing}" if placebo else f" either, and {nothing}"
        if self.distance > SAME * placebo:
            return f", so most of this change can come from averaging fewer members, and {nothing}"
        extent = "farther" if self.distance * SAME < placebo else "about as far"
        return f", so averaging fewer members alone moves it {extent}, and {nothing}"


@dataclass(frozen=True)
class PictureRow:
    """A picture that was drawn again, its difference from the factual picture, and how far it moved."""

    kind: str  # ``counterfactual``, ``placebo`` or ``base``
    picture: Picture  # the picture
    change: Picture  # its difference from the factual picture
    distance: str  # its distance from the factual picture, in words
    length: float  # that distance in percent of the longest bar of the page


@dataclass(frozen=True)
class AblationEntry:
    """One ablation on the page."""

    comparison: Comparison  # its distances and what they mean
    rows: tuple[PictureRow, ...]  # counterfactual, placebo if there is one, and base if members have one
    members: str  # how many members drew each
    units: str  # the names of the units, where the title only counts them
    images: tuple[Picture, ...]  # training images of the units
    images_left_out: int  # how many of their images are not shown
    twins: tuple[str, ...]  # notes on identical images that were not removed
    twins_left_out: int  # how many such notes are not shown


@dataclass(frozen=True)
class AblationCard:
    """A picture with all its ablations."""

    anchor: str  # its place on the page
    name: str  # SEED/INDEX
    prompt: str  # what it was drawn from; empty without text
    factual: Picture  # the picture
    entries: tuple[AblationEntry, ...]  # its ablations
    closest: tuple[Picture, ...]  # the training images most like it
    closest_units: tuple[str, ...]  # the units most like it; empty where every image is its own unit


def comparison(ablation: Ablation) -> Comparison:
    """The distances of an ablation."""
    return Comparison(tuple(ablation.units), ablation.keep_only, ablation.distance, ablation.placebo_distance)


def ablation_cards(ablations: Sequence[Ablation], training: TrainingImages) -> list[AblationCard]:
    """A card for each picture that has ablations; two different pictures of one name have two cards."""
    by_picture: dict[tuple[str, str], list[Ablation]] = {}
    for ablation in ablations:
        by_picture.setdefault((ablation.sample, ablation.manifest.inputs["factual"]), []).append(ablation)
    if not by_picture:
        return []
    anchors = [f"picture-{k}" for k in range(len(by_picture))]
    factuals = torch.stack([group[0].pictures["factual"] for group in by_picture.values()])
    likeness = pixel(factuals, anchors, training.data)
    longest = max(far for ablation in ablations for far in _distances(ablation).values())
    groups = zip(anchors, by_picture.values(), strict=True)
    return [_card(anchor, group, training, likeness, longest) for anchor, group in groups]


def _card(
    anchor: str, ablations: Sequence[Ablation], training: TrainingImages, likeness: Scores, longest: float
) -> AblationCard:
    name, members = ablations[0].sample, plural(training.codebook.members, "member")
    pixels = images.to_pixels(ablations[0].pictures["factual"])
    return AblationCard(
        anchor=anchor,
        name=name,
        prompt="".join(ablations[0].drawing.captions([name])),
        factual=Picture(data_uri(pixels), f"Picture {name}, drawn by all {members}", f"Picture {name}"),
        entries=tuple(_entry(ablation, training, longest) for ablation in ablations),
        closest=tuple(training.closest(likeness, anchor)),
        closest_units=tuple(training.closest_units(likeness, anchor)) if training.grouped else (),
    )


def _entry(ablation: Ablation, training: TrainingImages, longest: float) -> AblationEntry:
    distances = comparison(ablation)
    examples = training.of_units(ablation.units)
    twins = [] if ablation.keep_only else training.twin_notes(ablation.units, ablation.survivors)
    rows = [_row(ablation, "counterfactual", distances.title, distances.distance, longest)]
    if distances.placebo is not None:
        rows.append(_row(ablation, "placebo", "Placebo", distances.placebo, longest))
    if "base" in ablation.pictures:
        rows.append(_row(ablation, "base", "The base alone", _distances(ablation)["base"], longest))
    return AblationEntry(
        comparison=distances,
        rows=tuple(rows),
        members=plural(len(ablation.survivors), "member"),
        units=join_names(ablation.units, most=20) if len(ablation.units) > 3 else "",
        images=tuple(training.picture(n, known=ablation.units) for n in examples[:SHOWN]),
        images_left_out=max(0, len(examples) - SHOWN),
        twins=tuple(twins[:SHOWN]),
        twins_left_out=max(0, len(twins) - SHOWN),
    )


def _distances(ablation: Ablation) -> dict[str, float]:
    """How far every picture of an ablation is from the factual one."""
    factual = ablation.pictures["factual"]
    return {kind: images.distance(factual, x).item() for kind, x in ablation.pictures.items() if kind != "factual"}


def _row(ablation: Ablation, kind: str, title: str, distance: float, longest: float) -> PictureRow:
    factual, picture = ablation.pictures["factual"], ablation.pictures[kind]
    text = f"Picture {ablation.sample}, {title[0].lower()}{title[1:]}"
    change = data_uri(images.difference(factual, picture))
    return PictureRow(
        kind=kind,
        picture=Picture(data_uri(images.to_pixels(picture)), text, title),
        change=Picture(change, f"{text}: what changed, mid grey where nothing did", "Change"),
        distance=number(distance),
        length=round(100 * distance / longest, 1) if longest else 0.0,
    )
