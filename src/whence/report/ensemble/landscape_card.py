"""A card for each landscape: all distances beside the placebos, who is named, and the largest changes in pictures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup
from torch import Tensor

from whence import artefacts, images
from whence.ensemble import Ensemble
from whence.ensemble.drawing import Combine
from whence.ensemble.influence import Influence, conclusion, summary
from whence.ensemble.landscape import Landscape
from whence.ensemble.losses import Losses
from whence.ensemble.sampling import Samples, find_sample
from whence.errors import ArtefactError
from whence.report.ensemble.unit import TrainingImages, UnitRow, unit_row
from whence.report.picture import LARGE, Picture, data_uri
from whence.report.plot import SIDE, dots, frame, level, percent_of, square, tick_x, tick_y
from whence.report.text import number, plural, unit_phrase
from whence.statistics.ticks import linear_ticks

#: Landscapes shown.
LANDSCAPES = 24
#: Units shown of a landscape: those that are named, or else those with the largest distances.
NAMED, LARGEST = 5, 3


@dataclass(frozen=True)
class LandscapeCard:
    """A landscape on the page."""

    anchor: str  # its place on the page
    name: str  # SEED/INDEX of the picture
    title: str  # "Picture 0/3"
    factual: Picture  # the picture
    reading: Influence  # its distances, and who is named
    verdict: tuple[str, ...]  # who mattered, or that nobody did, or that it can't be told
    plot: Markup  # all distances beside those of the placebos
    keys: tuple[tuple[str, str], ...]  # what the plot shows: class of a mark, and words
    radii: tuple[tuple[str, str], ...]  # the largest distance, and what it is to be compared with: number and words
    rows: tuple[UnitRow, ...]  # some units
    unnamed: int  # how many more units are named than shown
    losses: str  # what exact losses of the same picture say; empty where they were not measured
    loss_rows: tuple[UnitRow, ...]  # the units that they name

    @property
    def label(self) -> str:
        """The outcome in a few words."""
        if len(self.reading.units) == 1 and self.reading.threshold is not None:
            return self.heading
        if self.reading.influential:
            return f"{plural(len(self.reading.influential), 'unit')} named"
        if self.reading.threshold is not None:
            return "Nobody in particular"
        return f"{'Too few' if len(self.reading.placebos) else 'No'} placebos to name anybody"

    @property
    def heading(self) -> str:
        """The heading of the units that are shown."""
        if self.reading.influential:
            return "Above the placebos"
        start = "Largest, but not" if len(self.reading.units) > 1 else "Not"
        if self.reading.threshold is not None:
            return f"{start} above the placebos"
        return f"{start} shown to be above placebos: there are too few"


def landscape_cards(
    landscapes: Sequence[Landscape], training: TrainingImages, losses: Mapping[str, tuple[int, Influence]] | None = None
) -> Iterator[LandscapeCard]:
    """A card for each landscape, one at a time; `losses` are draws and readings of exact losses, by picture."""
    for k, landscape in enumerate(landscapes):
        measured = None if landscape.together else (losses or {}).get(landscape.sample)
        yield _card(f"landscape-{k}", landscape, training, measured)


def outcomes(readings: Sequence[Influence]) -> str:
    """How many landscapes name somebody, nobody, or can't name anybody, in a sentence."""
    somebody = sum(bool(reading.influential) for reading in readings)
    unable = sum(reading.threshold is None for reading in readings)
    nobody = len(readings) - somebody - unable
    return (
        f"Of {plural(len(readings), 'landscape')}, {somebody:,} name somebody, {nobody:,} nobody in particular, and "
        f"{unable:,} can't name anybody because there are too few placebos."
    )


def nearest_command(ensemble: Ensemble, landscapes: Sequence[Landscape]) -> str:
    """The command that asks about fewer units, as many as the placebos allow; empty where no landscape needs it."""
    for landscape in landscapes:
        reading = landscape.influence()
        units = int(reading.level * (1 + len(reading.placebos)) + 1e-9)
        if units and reading.threshold is None:
            path = shlex.quote(str(ensemble.path))
            return f"whence ensemble influence {path} --sample {landscape.sample} --nearest {min(units, 10)}"
    return ""


def _card(
    anchor: str, landscape: Landscape, training: TrainingImages, measured: tuple[int, Influence] | None
) -> LandscapeCard:
    reading, factual = landscape.influence(), landscape.factual
    sentences = [conclusion(reading)]
    if len(reading.placebos) and len(reading.units) > 1:
        sentences.append(summary(reading))
    title = f"Picture {landscape.sample}"
    if landscape.together:
        title += f", without {unit_phrase(landscape.together)} together"
    named = reading.influential
    shown = named[:NAMED] or [reading.units[u] for u in reading.order[:LARGEST]]
    loss_units = measured[1].influential[:NAMED] if measured else []
    rows = {
        unit: unit_row(landscape, unit, factual, reading, training) for unit in dict.fromkeys([*shown, *loss_units])
    }
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
        rows=tuple(rows[unit] for unit in shown),
        unnamed=max(0, len(named) - NAMED),
        losses=f"By exact losses over {measured[0]:,} draws. {conclusion(measured[1], 'increase')}" if measured else "",
        loss_rows=tuple(rows[unit] for unit in loss_units),
    )


def _keys(reading: Influence) -> Iterator[tuple[str, str]]:
    """What each mark of the plot is, in the order of reading."""
    units, placebos = len(reading.units), len(reading.placebos)
    yield "units", "distance without each unit" if units > 1 else "distance without the units"
    if reading.influential:
        yield "named", f"named: above the placebos ({len(reading.influential)})"
    if not placebos:
        return
    low, high = middle_range(reading.placebos)
    largest = float(reading.placebos.max())
    yield "beside", f"{plural(placebos, 'placebo')}, from the largest to the smallest"
    yield "band", f"middle 90% of the placebos, {number(low)} to {number(high)}"
    above, expected = int((reading.effects > largest).sum()), units / (1 + placebos)
    yield "most", f"largest placebo, {number(largest)}: {plural(above, 'unit')} above it; {expected:.2g} by chance"
    if reading.threshold is not None:
        yield "threshold", f"one unit alone would be named above {number(reading.threshold)}"


def _radii(reading: Influence) -> Iterator[tuple[str, str]]:
    """The largest distance, and the largest of as many units as placebos."""
    units, placebos, matched = len(reading.units), len(reading.placebos), f"{reading.matched_count:,}"
    if units == 1:
        return
    yield number(reading.radius), f"radius: the largest distance of {units:,} units"
    if not placebos:
        return
    if units > reading.matched_count:
        yield number(reading.matched_radius), f"the largest of {matched} of these units, on average"
    average = ", on average" if placebos > reading.matched_count else ""
    yield number(reading.placebo_radius), f"placebo radius: the largest of {matched} placebos{average}"


def loss_readings(ensemble: Ensemble) -> dict[str, tuple[int, Influence]]:
    """Number of draws and reading of the exact losses of every drawn picture: of the measurement with most draws.

    Returns:
        Both by the picture's name, for members that are combined as when it was drawn.
    """
    readings: dict[str, tuple[int, Influence]] = {}
    opened: dict[int, Samples] = {}
    for path in artefacts.of_kind(ensemble.path / "losses", "losses"):
        losses = Losses.open(path, ensemble.codebook)
        foreign = losses.manifest.inputs["ensemble"] != ensemble.manifest.fingerprint
        if foreign or losses.units != ensemble.codebook.units:  # of some units together, not of each
            continue
        for name, picture in zip(losses.queries, losses.examples.tensor, strict=True):
            better = name not in readings or readings[name][0] < losses.draws
            if better and _is_drawn(ensemble, name, picture, losses.combine, opened):
                readings[name] = (losses.draws, losses.influence_on(name))
    return readings


def _is_drawn(
    ensemble: Ensemble, name: str, picture: torch.Tensor, combine: Combine, opened: dict[int, Samples]
) -> bool:
    """Whether a query is the picture that the ensemble drew under its name in this way, and not another image."""
    if not re.fullmatch(r"\d{1,9}/\d{1,9}", name):
        return False
    try:
        samples, index = find_sample(ensemble, name, opened)
    except ArtefactError:
        return False
    return samples.drawing.combine == combine and torch.equal(samples.examples[index], picture)


def distance_plot(reading: Influence, anchor: str, title: str, description: str) -> Markup:
    """Plot the distances of units and placebos; units that are named have larger dots. `anchor` is the plot's id."""
    units, placebos = reading.effects[reading.order].tolist(), sorted(reading.placebos.tolist(), reverse=True)
    top = 1.06 * max(units[:1] + placebos[:1]) or 1.0
    named = len(reading.influential)
    parts = [*(tick_y(tick / top, f"{tick:g}") for tick in linear_ticks(top)), *_ranks(len(units))]
    if placebos:
        low, high = middle_range(reading.placebos)
        band = Markup('<rect class="band" width="100%" y="{}%" height="{}%"/>')
        parts.append(band.format(percent_of(1 - high / top), percent_of((high - low) / top)))
        parts.append(level("most", placebos[0] / top))
    if reading.threshold is not None:
        parts.append(level("threshold", reading.threshold / top))
    paths = {
        "units" if len(units) > 1 else "together": dots(_places(units, top)[named:]),
        "beside": "M" + "L".join(dict.fromkeys(_places(placebos, top))) if placebos else "",
        "named": dots(_places(units, top)[:named]),
    }
    order = "units, from the largest distance to the smallest" if len(units) > 1 else "the units together"
    axes = (f"distance from picture {reading.query}", order)
    return frame([*parts, square(paths)], anchor, title, description, axes)


def middle_range(placebos: Tensor) -> tuple[float, float]:
    """The range of the middle 90% of the placebos: their quantiles of 5% and 95%."""
    low, high = torch.quantile(placebos.double(), torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return low, high


def _ranks(count: int) -> list[Markup]:
    """Ranks of units below the plot, from the first; none where there is only one unit."""
    if count == 1:
        return []
    ranks = [int(tick) for tick in linear_ticks(count, 4) if tick >= 1 and tick == int(tick)]
    ranks = [1, *(rank for rank in ranks if rank > max(1, count // 10))]
    return [tick_x((rank - 0.5) / count, f"{rank:,}") for rank in ranks]


def _places(descending: Sequence[float], top: float) -> list[str]:
    """Places of values in the square, evenly spread from left to right."""
    count = len(descending)
    return [f"{SIDE * (k + 0.5) / count:.0f} {SIDE * (1 - value / top):.0f}" for k, value in enumerate(descending)]
