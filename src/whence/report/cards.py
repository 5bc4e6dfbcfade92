"""A card for each picture that was drawn again without something: the comparison, told in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from whence import images
from whence.ensemble import Ablation
from whence.report.examples import SHOWN, TrainingImages
from whence.report.pictures import Picture, data_uri
from whence.report.words import Comparison, counted, listed, number
from whence.scores.scores import Scores
from whence.similarity.pixel import pixel

#: Ablations shown.
ABLATIONS = 100


@dataclass(frozen=True)
class Row:
    """One line of a comparison: drawn again, what changed, how far.

    Attributes:
        kind: ``counterfactual`` or ``placebo``.
        drawn: The picture drawn again.
        change: Its difference from the factual picture.
        distance: Its distance from the factual picture, in words.
        length: That distance in percent of the longest bar of the page.
    """

    kind: str
    drawn: Picture
    change: Picture
    distance: str
    length: float


@dataclass(frozen=True)
class Story:
    """One ablation as the page tells it.

    Attributes:
        comparison: Its figures and what they mean.
        rows: Counterfactual and, if there is one, placebo.
        members: How many members drew each.
        units: The units by name, where the title only counts them.
        images: Training images of the units.
        left_out: How many of their images are not shown.
        twins: Notes on identical images that were not removed.
        twins_left_out: How many such notes are not shown.
    """

    comparison: Comparison
    rows: tuple[Row, ...]
    members: str
    units: str
    images: tuple[Picture, ...]
    left_out: int
    twins: tuple[str, ...]
    twins_left_out: int


@dataclass(frozen=True)
class Card:
    """A picture with all its ablations.

    Attributes:
        anchor: Its place on the page.
        name: SEED/INDEX.
        factual: The picture.
        stories: Its ablations.
        closest: The training images most like it.
        closest_units: The units most like it; empty where every image is its own unit.
    """

    anchor: str
    name: str
    factual: Picture
    stories: tuple[Story, ...]
    closest: tuple[Picture, ...]
    closest_units: tuple[str, ...]


def comparison(ablation: Ablation) -> Comparison:
    """The figures of an ablation."""
    return Comparison(tuple(ablation.units), ablation.keep_only, ablation.distance, ablation.placebo_distance)


def cards(ablations: Sequence[Ablation], training: TrainingImages) -> list[Card]:
    """A card for each picture that has ablations, in the order of the ablations.

    Args:
        ablations: What to show.
        training: The training images.

    Returns:
        The cards; a picture that was drawn differently under the same name has a card of its own.
    """
    groups: dict[tuple[str, str], list[Ablation]] = {}
    for one in ablations:
        groups.setdefault((one.sample, one.manifest.inputs["factual"]), []).append(one)
    if not groups:
        return []
    anchors = [f"picture-{k}" for k in range(len(groups))]
    factuals = torch.stack([group[0].pictures["factual"] for group in groups.values()])
    likeness = pixel(factuals, anchors, training.data)
    scale = max(max(one.distance, one.placebo_distance or 0.0) for one in ablations)
    return [
        _card(anchor, group, training, likeness, scale) for anchor, group in zip(anchors, groups.values(), strict=True)
    ]


def _card(anchor: str, group: Sequence[Ablation], training: TrainingImages, likeness: Scores, scale: float) -> Card:
    name, members = group[0].sample, counted(training.codebook.members, "member")
    pixels = images.to_pixels(group[0].pictures["factual"])
    return Card(
        anchor=anchor,
        name=name,
        factual=Picture(data_uri(pixels), f"Picture {name}, drawn by all {members}", f"Picture {name}"),
        stories=tuple(story(one, training, scale) for one in group),
        closest=tuple(training.closest(likeness, anchor)),
        closest_units=tuple(training.closest_units(likeness, anchor)) if training.grouped else (),
    )


def story(ablation: Ablation, training: TrainingImages, scale: float) -> Story:
    """What an ablation shows.

    Args:
        ablation: The ablation.
        training: The training images.
        scale: Distance of the longest bar.

    Returns:
        Its pictures, figures and words.
    """
    figures = comparison(ablation)
    examples = list(training.of_units(ablation.units))
    twins = [] if ablation.keep_only else training.twin_notes(ablation.units, ablation.survivors)
    rows = [_row(ablation, "counterfactual", figures.title, figures.distance, scale)]
    if figures.placebo is not None:
        rows.append(_row(ablation, "placebo", "Placebo", figures.placebo, scale))
    return Story(
        comparison=figures,
        rows=tuple(rows),
        members=counted(len(ablation.survivors), "member"),
        units=listed(ablation.units) if len(ablation.units) > 3 else "",
        images=tuple(training.picture(n, known=ablation.units) for n in examples[:SHOWN]),
        left_out=max(0, len(examples) - SHOWN),
        twins=tuple(twins[:SHOWN]),
        twins_left_out=max(0, len(twins) - SHOWN),
    )


def _row(ablation: Ablation, kind: str, title: str, distance: float, scale: float) -> Row:
    factual, drawn = ablation.pictures["factual"], ablation.pictures[kind]
    text = f"Picture {ablation.sample}, {title[0].lower()}{title[1:]}"
    return Row(
        kind=kind,
        drawn=Picture(data_uri(images.to_pixels(drawn)), text, title),
        change=Picture(_change(factual, drawn), f"{text}: what changed, mid grey where nothing did", "Change"),
        distance=number(distance),
        length=round(100 * distance / scale, 1) if scale else 0.0,
    )


def _change(factual: Tensor, drawn: Tensor) -> str:
    return data_uri(images.difference(factual, drawn))
