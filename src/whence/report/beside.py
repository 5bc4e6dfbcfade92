"""Runs beside each other: the radius of their landscapes against the size of their training sets, and the placebos'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whence.ensemble import Ensemble
from whence.ensemble.landscape import landscapes
from whence.ensemble.reading import geometric_mean, geometric_mean_radius
from whence.errors import ArtefactError, MismatchError
from whence.report.scatter import Column, radius_plot
from whence.report.words import counted, number


@dataclass(frozen=True)
class Run:
    """The landscapes of one ensemble as a whole; geometric means over them.

    Attributes:
        letter: Its name in the plot.
        name: Its directory.
        images: Training images.
        details: What it is, in words.
        radius: Largest distance of all units.
        matched: Expected largest of as many units as there are placebos; None where there are none.
        placebo: Expected largest of as many placebos.
    """

    letter: str
    name: str
    images: int
    details: str
    radius: float
    matched: float | None
    placebo: float | None

    @property
    def told(self) -> tuple[str, ...]:
        """The three in words."""
        return tuple("–" if value is None else number(value) for value in (self.radius, self.matched, self.placebo))


@dataclass(frozen=True)
class Beside:
    """Runs and their plot."""

    runs: tuple[Run, ...]
    plot: Markup


def beside(ensembles: Sequence[Ensemble]) -> Beside:
    """Compare the radii of several ensembles.

    Args:
        ensembles: Ensembles with landscapes, of pictures of one size; one given twice counts once.

    Returns:
        One row and one column of marks for each, from the fewest training images.

    Raises:
        ArtefactError: One has no landscapes.
        MismatchError: Their pictures have different sizes, so their distances can't be compared.
    """
    different = {one.path.resolve(): one for one in ensembles}.values()
    sizes = {one.data.size: one.path for one in different}
    if len(sizes) > 1:
        given = ", ".join(f"{path} has {'x'.join(map(str, size))}" for size, path in sizes.items())
        raise MismatchError(
            f"Distances of pictures of different sizes can't be compared: {given}. Leave out all but one size."
        )
    runs = tuple(_run(_letter(k), one) for k, one in enumerate(sorted(different, key=lambda one: len(one.data))))
    return Beside(runs, _plot(runs))


def _run(letter: str, ensemble: Ensemble) -> Run:
    readings = [one.reading() for one in landscapes(ensemble)]
    if not readings:
        raise ArtefactError(
            f"{ensemble.path} has no landscapes to compare. First: whence ensemble landscape {ensemble.path} "
            "--samples SEED/FIRST-LAST"
        )
    counts = sorted({one.matched for one in readings})
    details = [
        counted(len(ensemble.data), "training image"),
        counted(len(ensemble.codebook.units), "unit"),
        counted(ensemble.codebook.members, "member"),
        counted(len(readings), "landscape"),
        f"compared among {' to '.join(f'{count:,}' for count in dict.fromkeys([counts[0], counts[-1]]))}",
    ]
    compared = counts[0] > 0
    return Run(
        letter=letter,
        name=ensemble.path.resolve().name,
        images=len(ensemble.data),
        details=", ".join(details if compared else details[:-1]),
        radius=geometric_mean_radius(readings),
        matched=geometric_mean([one.matched_radius for one in readings]) if compared else None,
        placebo=geometric_mean([one.placebo_radius for one in readings]) if compared else None,
    )


def _plot(runs: Sequence[Run]) -> Markup:
    columns = [
        Column(run.letter, run.images, {"radius": run.radius, "matched": run.matched, "placebo": run.placebo})
        for run in runs
    ]
    title = "Radius and placebo radius against the number of training images"
    told = [f"{run.name}: {run.images:,} training images, {run.told[0]} and {run.told[2]}" for run in runs]
    return radius_plot(columns, "beside-plot", title, f"Radius and placebo radius of {'; '.join(told)}.")


def _letter(k: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    return (_letter(k // 26 - 1) if k >= 26 else "") + chr(ord("A") + k % 26)
