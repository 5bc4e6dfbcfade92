"""One unit of a landscape in pictures: its training images, the picture with and without it, and what changed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from whence import images
from whence.ensemble.influence import Influence
from whence.ensemble.landscape import Landscape
from whence.ensemble.verdict import chance
from whence.report.examples import TrainingImages
from whence.report.pictures import SMALL, Picture, data_uri
from whence.report.words import counted, named, number

#: Training images shown of a unit, and notes on their twins.
EXAMPLES, TWINS = 6, 3


@dataclass(frozen=True)
class UnitRow:
    """What a picture looks like without a unit.

    Attributes:
        title: "Unit 17".
        pictures: The picture, the same without the unit, and the change.
        examples: Training images of the unit.
        left_out: How many of them are not shown.
        twins: Notes on identical images that were not removed.
        members: How many members drew it.
        distance: How far it moved.
        alone: Chance of a distance as large for a unit that doesn't matter; empty without placebos.
        corrected: The same corrected for the number of units.
    """

    title: str
    pictures: tuple[Picture, Picture, Picture]
    examples: tuple[Picture, ...]
    left_out: int
    twins: tuple[str, ...]
    members: str
    distance: str
    alone: str
    corrected: str


def unit_row(landscape: Landscape, unit: str, factual: Tensor, reading: Influence, training: TrainingImages) -> UnitRow:
    """What a landscape shows of one unit.

    Args:
        landscape: The landscape.
        unit: The unit.
        factual: The landscape's picture.
        reading: Its distances.
        training: The training images.

    Returns:
        The pictures and figures; of the landscape's pictures one shard is read.
    """
    removed, place = landscape.together or (unit,), reading.units.index(unit)
    without, survivors = landscape.counterfactual(unit), training.codebook.survivors(removed)
    name = f"Picture {landscape.sample}"
    text = f"{name} without {named(removed)}"
    examples = list(training.of_units(removed))
    beside = bool(len(reading.placebos))
    return UnitRow(
        title=named(removed)[0].upper() + named(removed)[1:],
        pictures=(
            Picture(data_uri(images.to_pixels(factual), SMALL), name, name),
            Picture(
                data_uri(images.to_pixels(without), SMALL), text, "Without them" if landscape.together else "Without it"
            ),
            Picture(
                data_uri(images.difference(factual, without), SMALL),
                f"{text}: what changed, mid grey where nothing did",
                "Change",
            ),
        ),
        examples=tuple(training.picture(n, known=removed) for n in examples[:EXAMPLES]),
        left_out=max(0, len(examples) - EXAMPLES),
        twins=tuple(training.twin_notes(removed, survivors)[:TWINS]),
        members=counted(len(survivors), "member"),
        distance=number(float(reading.effects[place])),
        alone=chance(float(reading.p_values[place])) if beside else "",
        corrected=chance(float(reading.adjusted[place])) if beside else "",
    )
