"""What a notebook shows of credit: the largest shares as a table and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whence import notebook
from whence.notebook import Plot

if TYPE_CHECKING:
    from whence.credit.credit import Credit

#: Behaviours, and shares of each, that are shown.
BEHAVIOURS, SHARES = 4, 12


def credit_html(credit: Credit) -> str:
    """HTML of the largest shares in the first behaviours."""
    rows = []
    for b, explained in enumerate(credit.explained[:BEHAVIOURS]):
        for u in _largest(credit, b):
            interval = "not known"
            if credit.low is not None and credit.high is not None:
                interval = f"{credit.low[b, u]:.3g} to {credit.high[b, u]:.3g}"
            rows.append((explained.title, credit.units[u], f"{credit.shares[b, u]:.3g} {explained.unit}", interval))
    return notebook.table(repr(credit), ("behaviour", "contributor", "share", "95% interval"), rows)


def plot_credit(credit: Credit, behaviour: str | None) -> Plot:
    """Return a plot of the largest shares in a behaviour, with their intervals; by default in the first one.

    Raises:
        DataError: There is no such behaviour.
    """
    from matplotlib.figure import Figure

    b = 0 if behaviour is None else credit.index_of(behaviour)
    order, explained = _largest(credit, b), credit.explained[b]
    figure = Figure(figsize=(5, 0.8 + 0.25 * len(order)))
    axes = figure.add_subplot()
    places, values = range(len(order)), credit.shares[b, order]
    axes.barh(places, values, color="tab:blue", alpha=0.6)
    if credit.low is not None and credit.high is not None:
        axes.hlines(places, credit.low[b, order], credit.high[b, order], color="black")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(places, [notebook.shortened(credit.units[u]) for u in order])
    axes.invert_yaxis()
    axes.set(xlabel=f"share, {explained.unit}", title=f"{explained.title}, by {credit.estimator}")
    return Plot.of(figure)


def _largest(credit: Credit, b: int) -> list[int]:
    """Columns of the largest shares in a behaviour, from the largest."""
    order: list[int] = np.argsort(-credit.shares[b], kind="stable")[:SHARES].tolist()
    return order
