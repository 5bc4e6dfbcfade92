"""What a notebook shows of a landscape: the units that change the picture most, and a plot of all distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence import images, notebook
from whence.ensemble.influence import conclusion
from whence.notebook import Plot

if TYPE_CHECKING:
    from whence.ensemble.landscape import Landscape

#: Counterfactuals that are shown.
SHOWN = 8


def landscape_html(landscape: Landscape) -> str:
    """HTML of the factual picture, and of the counterfactuals that are farthest from it."""
    influence = landscape.influence()
    cells = [notebook.picture(images.to_pixels(landscape.factual), landscape.sample)]
    for u in influence.order[:SHOWN]:
        pixels = images.to_pixels(landscape.counterfactual(landscape.units[u]))
        cells.append(notebook.picture(pixels, f"without {landscape.units[u]}", f"{influence.effects[u]:.3f}"))
    return notebook.gallery(f"Landscape of {landscape.sample}. {conclusion(influence)}", cells)


def plot_landscape(landscape: Landscape) -> Plot:
    """Return a plot of distances from the factual picture: of units and of placebos, each from the largest.

    The rank is a share of their number, so that the two lines can be compared. A dashed line is the distance from which
    on a single unit would be named; there is none where there are too few placebos.
    """
    from matplotlib.figure import Figure

    influence = landscape.influence()
    figure = Figure(figsize=(5, 3))
    axes = figure.add_subplot()
    for name, distances in (("units", landscape.distances), ("placebos", landscape.placebo_distances)):
        descending = distances.sort(descending=True).values
        ranks = [(k + 1) / len(descending) for k in range(len(descending))]
        axes.plot(ranks, descending.numpy(), label=f"{len(descending):,} {name}", marker=".", markersize=3)
    if influence.threshold is not None:
        axes.axhline(influence.threshold, linestyle="--", color="grey", label="a unit above is named")
    axes.set(xlabel="rank, as a share of all", ylabel="distance", title=f"Landscape of {landscape.sample}")
    axes.legend()
    return Plot.of(figure)
