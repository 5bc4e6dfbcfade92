"""One unit of a landscape in pictures: its training images, the picture with and without it, and the change."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from whence import images
from whence.ensemble.influence import Influence, format_p_value
from whence.ensemble.landscape import Landscape
from whence.report.ensemble.training_images import TrainingImages
from whence.report.picture import SMALL, Picture, data_uri
from whence.report.text import number, plural, unit_phrase

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
