"""A card for each landscape: all distances beside the placebos, who is named, and the largest changes in pictures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whence import images
from whence.ensemble import Ensemble
from whence.ensemble.influence import Influence
from whence.ensemble.landscape import Landscape, landscapes
from whence.ensemble.verdict import background, verdict
from whence.report.changes import UnitRow, unit_row
from whence.report.examples import TrainingImages
from whence.report.pictures import LARGE, Picture, data_uri
from whence.report.plots import distance_plot, middle
from whence.report.words import counted, named, number

#: Landscapes shown.
LANDSCAPES = 24
#: Units shown of a landscape: of those that are named, or else of those with the largest distances.
NAMED, LARGEST = 5, 3


@dataclass(frozen=True)
class LandscapeCard:
    """A landscape as the page tells it.

    Attributes:
        anchor: Its place on the page.
        name: SEED/INDEX of the picture.
        title: "Picture 0/3".
        factual: The picture.
        reading: Its distances, and who is named.
        verdict: Who mattered, or that nobody did, or that it can't be told.
        plot: All distances beside those of the placebos.
        keys: What the plot shows: class of a mark, and words.
        radii: The largest distance, and what it is to be compared with: number and words.
        rows: Some units.
        unnamed: How many more units are named than shown.
        losses: What exact losses of the same picture say; empty where they were not measured.
        loss_rows: The units that they name.
    """

    anchor: str
    name: str
    title: str
    factual: Picture
    reading: Influence
    verdict: tuple[str, ...]
    plot: Markup
    keys: tuple[tuple[str, str], ...]
    radii: tuple[tuple[str, str], ...]
    rows: tuple[UnitRow, ...]
    unnamed: int
    losses: str
    loss_rows: tuple[UnitRow, ...]

    @property
    def label(self) -> str:
        """The outcome in a few words."""
        if len(self.reading.units) == 1 and self.reading.threshold is not None:
            return self.heading
        if self.reading.influential:
            return f"{counted(len(self.reading.influential), 'unit')} named"
        if self.reading.threshold is not None:
            return "Nobody in particular"
        return f"{'Too few' if len(self.reading.placebos) else 'No'} placebos to name anybody"

    @property
    def heading(self) -> str:
        """What is said of the units that are shown."""
        if self.reading.influential:
            return "Above the placebos"
        start = "Largest, but not" if len(self.reading.units) > 1 else "Not"
        if self.reading.threshold is not None:
            return f"{start} above the placebos"
        return f"{start} shown to be above placebos: there are too few"


def drawn_landscapes(ensemble: Ensemble) -> list[Landscape]:
    """All landscapes of an ensemble: those of all units first, then those of units left out together."""
    return [*landscapes(ensemble), *landscapes(ensemble, groups=True)]


def landscape_cards(
    found: Sequence[Landscape], training: TrainingImages, losses: Mapping[str, tuple[int, Influence]] | None = None
) -> Iterator[LandscapeCard]:
    """A card for each landscape, one at a time; of its pictures only those that are shown are read.

    Args:
        found: The landscapes.
        training: The training images.
        losses: Draws and reading of exact losses, by picture.

    Yields:
        The cards.
    """
    for k, landscape in enumerate(found):
        measured = None if landscape.together else (losses or {}).get(landscape.sample)
        yield _card(f"landscape-{k}", landscape, training, measured)


def outcomes(readings: Sequence[Influence]) -> str:
    """How many landscapes name somebody, nobody, or can't name anybody, in a sentence."""
    named_any = sum(bool(one.influential) for one in readings)
    unable = sum(one.threshold is None for one in readings)
    nobody = len(readings) - named_any - unable
    return (
        f"Of {counted(len(readings), 'landscape')}, {named_any:,} name somebody, {nobody:,} nobody in particular, and "
        f"{unable:,} can't name anybody, for want of placebos."
    )


def ask_nearest(ensemble: Ensemble, found: Sequence[Landscape]) -> str:
    """The command that asks a landscape about fewer units, as many as its placebos allow; empty where none needs it."""
    for one in found:
        reading = one.reading()
        few = int(reading.level * (1 + len(reading.placebos)) + 1e-9)
        if few and reading.threshold is None:
            path = shlex.quote(str(ensemble.path))
            return f"whence ensemble influence {path} --sample {one.sample} --nearest {min(few, 10)}"
    return ""


def _card(
    anchor: str, landscape: Landscape, training: TrainingImages, measured: tuple[int, Influence] | None
) -> LandscapeCard:
    reading, factual = landscape.reading(), landscape.factual
    sentences = [verdict(reading)]
    if len(reading.placebos) and len(reading.units) > 1:
        sentences.append(background(reading))
    title = f"Picture {landscape.sample}"
    if landscape.together:
        title += f", without {named(landscape.together)} together"
    most = NAMED if reading.influential else LARGEST
    shown = (reading.influential or [reading.units[u] for u in reading.order])[:most]
    return LandscapeCard(
        anchor=anchor,
        name=landscape.sample,
        title=title,
        factual=Picture(data_uri(images.to_pixels(factual), LARGE), title, f"Picture {landscape.sample}"),
        reading=reading,
        verdict=tuple(sentences),
        plot=distance_plot(reading, f"{anchor}-plot", f"{title}: distances and placebos", " ".join(sentences)),
        keys=tuple(_keys(reading)),
        radii=tuple(_radii(reading)),
        rows=tuple(unit_row(landscape, unit, factual, reading, training) for unit in shown),
        unnamed=max(0, len(reading.influential) - NAMED),
        losses=f"By exact losses over {measured[0]:,} draws. {verdict(measured[1], 'increase')}" if measured else "",
        loss_rows=tuple(
            unit_row(landscape, unit, factual, reading, training)
            for unit in (measured[1].influential[:NAMED] if measured else ())
        ),
    )


def _keys(reading: Influence) -> Iterator[tuple[str, str]]:
    """What each mark of the plot is, in the order of reading."""
    units, beside = len(reading.units), len(reading.placebos)
    yield "units", "distance without each unit" if units > 1 else "distance without the units"
    if reading.influential:
        yield "named", f"named: above the placebos ({len(reading.influential)})"
    if not beside:
        return
    low, high = middle(reading.placebos)
    largest = float(reading.placebos.max())
    yield "beside", f"{counted(beside, 'placebo')}, from the largest to the smallest"
    yield "band", f"middle 90% of the placebos, {number(low)} to {number(high)}"
    above, expected = int((reading.effects > largest).sum()), units / (1 + beside)
    yield "most", f"largest placebo, {number(largest)}: {counted(above, 'unit')} above it; {expected:.2g} by chance"
    if reading.threshold is not None:
        yield "threshold", f"one unit alone would be named above {number(reading.threshold)}"


def _radii(reading: Influence) -> Iterator[tuple[str, str]]:
    """The largest distance, and the largest of as many units as placebos."""
    units, beside, matched = len(reading.units), len(reading.placebos), f"{reading.matched:,}"
    if units == 1:
        return
    yield number(reading.radius), f"radius: the largest distance of {units:,} units"
    if not beside:
        return
    if units > reading.matched:
        yield number(reading.matched_radius), f"the largest of {matched} of these units, on average"
    average = ", on average" if beside > reading.matched else ""
    yield number(reading.placebo_radius), f"placebo radius: the largest of {matched} placebos{average}"
