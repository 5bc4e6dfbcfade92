"""Several ensembles compared: radius and placebo radius of their landscapes against the number of training images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whence.ensemble import Ensemble
from whence.ensemble.landscape import geometric_mean, geometric_mean_radius, landscapes
from whence.errors import ArtefactError, MismatchError
from whence.report.plot import along, frame, tick_x, tick_y
from whence.report.text import number, plural, round_number
from whence.statistics.ticks import log_ticks

#: Pixels: width of a narrow plot, room for a letter above it, and distance between ensembles of one size.
NARROW, LETTER, ASIDE = 290, 18, 20
#: The largest value of an axis is at least this many times the smallest.
SPAN = 2.5
#: The marks of an ensemble: radius of its placebos, of as many units, of all units.
MARKS = {
    "placebo": Markup('<rect class="placebo" x="-5" y="{:.4g}%" width="10" height="10" transform="translate(0 -5)"/>'),
    "matched": Markup('<circle class="matched" cy="{:.4g}%" r="8"/>'),
    "radius": Markup('<circle class="radius" cy="{:.4g}%" r="4.5"/>'),
}


@dataclass(frozen=True)
class EnsembleRadii:
    """The radii of one ensemble: geometric means over its landscapes."""

    letter: str  # its name in the plot
    name: str  # its directory
    images: int  # number of training images
    details: str  # what it is, in words
    radius: float  # largest distance of all units
    matched: float | None  # expected largest distance of as many units as there are placebos; None where there are none
    placebo: float | None  # expected largest distance of as many placebos

    @property
    def heights(self) -> dict[str, float | None]:
        """A number for each of MARKS; None or 0 where a logarithm has no place for it."""
        return {"placebo": self.placebo, "matched": self.matched, "radius": self.radius}

    @property
    def numbers(self) -> tuple[str, ...]:
        """Radius, matched and placebo in words."""
        return tuple("–" if value is None else number(value) for value in (self.radius, self.matched, self.placebo))


@dataclass(frozen=True)
class RadiusComparison:
    """The radii of several ensembles, and their plot."""

    ensembles: tuple[EnsembleRadii, ...]
    plot: Markup


def compare_radii(ensembles: Sequence[Ensemble]) -> RadiusComparison:
    """Return the radii of different ensembles whose pictures have one size, from the fewest training images."""
    different = {ensemble.path.resolve(): ensemble for ensemble in ensembles}.values()
    paths = {ensemble.data.size: ensemble.path for ensemble in different}
    if len(paths) > 1:
        sizes = ", ".join(f"{path} has {'x'.join(map(str, size))}" for size, path in paths.items())
        raise MismatchError(
            f"Distances of pictures of different sizes can't be compared: {sizes}. Leave out all but one size."
        )
    ordered = sorted(different, key=lambda ensemble: len(ensemble.data))
    radii = tuple(_radii(_letter(k), ensemble) for k, ensemble in enumerate(ordered))
    title = "Radius and placebo radius against the number of training images"
    rows = [f"{row.name}: {row.images:,} training images, {row.numbers[0]} and {row.numbers[2]}" for row in radii]
    description = f"Radius and placebo radius of {'; '.join(rows)}."
    return RadiusComparison(radii, radius_plot(radii, "beside-plot", title, description))


def _radii(letter: str, ensemble: Ensemble) -> EnsembleRadii:
    readings = [landscape.influence() for landscape in landscapes(ensemble)]
    if not readings:
        raise ArtefactError(
            f"{ensemble.path} has no landscapes to compare. First: whence ensemble landscape {ensemble.path} "
            "--samples SEED/FIRST-LAST"
        )
    counts = sorted({reading.matched_count for reading in readings})
    compared = counts[0] > 0
    book, nouns = ensemble.codebook, ("training image", "unit", "member", "landscape")
    sizes = (len(ensemble.data), len(book.units), book.members, len(readings))
    details = list(map(plural, sizes, nouns))
    if compared:
        ends = dict.fromkeys([counts[0], counts[-1]])
        details.append(f"compared among {' to '.join(f'{count:,}' for count in ends)}")
    return EnsembleRadii(
        letter=letter,
        name=ensemble.path.resolve().name,
        images=len(ensemble.data),
        details=", ".join(details),
        radius=geometric_mean_radius(readings),
        matched=geometric_mean([reading.matched_radius for reading in readings]) if compared else None,
        placebo=geometric_mean([reading.placebo_radius for reading in readings]) if compared else None,
    )


def _letter(k: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    return (_letter(k // 26 - 1) if k >= 26 else "") + chr(ord("A") + k % 26)


@dataclass(frozen=True)
class Place:
    """A horizontal place in the plot: a share of the width, and pixels to its right."""

    share: float
    aside: float

    @property
    def pixels(self) -> float:
        """Pixels from the left in a narrow plot."""
        return NARROW * self.share + self.aside

    def put(self, content: Markup) -> Markup:
        """The content at this place."""
        svg = Markup('<svg x="{:.4g}%" width="1"><g transform="translate({:.4g})">{}</g></svg>')
        return svg.format(100 * self.share, self.aside, content)


def radius_plot(ensembles: Sequence[EnsembleRadii], anchor: str, title: str, description: str) -> Markup:
    """Plot the radii on logarithmic axes: three marks for each ensemble, with its letter above them."""
    heights = [height for ensemble in ensembles for height in ensemble.heights.values() if height]
    (left, right), (low, high) = _range([ensemble.images for ensemble in ensembles]), _range(heights or [1.0])
    parts = [tick_y(along(tick, low, high), f"{tick:g}") for tick in log_ticks(low, high)]
    parts += [tick_x(along(tick, left, right), round_number(tick)) for tick in log_ticks(left, right)]
    places = {}
    for ensemble in ensembles:
        same_size = [other.letter for other in ensembles if other.images == ensemble.images]
        aside = ASIDE * (same_size.index(ensemble.letter) - (len(same_size) - 1) / 2)
        place = places[ensemble.letter] = Place(along(ensemble.images, left, right), aside)
        known = {name: height for name, height in ensemble.heights.items() if height}
        marks = [MARKS[name].format(100 * (1 - along(height, low, high))) for name, height in known.items()]
        parts.append(place.put(Markup("").join(marks)))
    return frame([*parts, *_letters(places)], anchor, title, description, ("geometric mean radius", "training images"))


def _letters(places: Mapping[str, Place]) -> list[Markup]:
    """Letters above the plot; those that would overlap stand together."""
    groups: list[list[str]] = []
    for letter in sorted(places, key=lambda letter: places[letter].pixels):
        groups.append([letter])
        while len(groups) > 1 and _overlap(groups[-2], groups[-1], places):
            groups[-2:] = [groups[-2] + groups[-1]]
    text = Markup('<text class="middle letter" y="-6">{}</text>')
    return [_centre(group, places).put(text.format(" ".join(group))) for group in groups]


def _overlap(a: Sequence[str], b: Sequence[str], places: Mapping[str, Place]) -> bool:
    return _centre(b, places).pixels - _centre(a, places).pixels < LETTER * (len(a) + len(b)) / 2


def _centre(group: Sequence[str], places: Mapping[str, Place]) -> Place:
    shares, asides = [places[letter].share for letter in group], [places[letter].aside for letter in group]
    return Place(sum(shares) / len(group), sum(asides) / len(group))


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis: beyond the values on both sides, and at least SPAN times apart."""
    low, high = min(values), max(values)
    margin = max(1.25, (high / low) ** 0.1, math.sqrt(SPAN * low / high))
    return low / margin, high * margin
