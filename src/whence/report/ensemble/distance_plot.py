"""The plot of a landscape: the distances of all units, largest first, over the distances of the placebos."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from markupsafe import Markup
from torch import Tensor

from whence.ensemble.influence import Influence
from whence.report.plot import SIDE, dots, frame, level, percent_of, square, tick_x, tick_y
from whence.statistics.ticks import linear_ticks


def distance_plot(reading: Influence, anchor: str, title: str, description: str) -> Markup:
    """Plot the distances of units and placebos; units that are named have larger dots. `anchor` is the plot's id."""
    units, placebos = reading.effects[reading.order].tolist(), sorted(reading.placebos.tolist(), reverse=True)
    top = 1.06 * max(units[:1] + placebos[:1]) or 1.0
    named = len(reading.influential)
    parts = [*(tick_y(tick / top, f"{tick:g}") for tick in linear_ticks(top)), *_ranks(len(units))]
    if placebos:
        low, high = middle_range(reading.placebos)
        parts.append(
            Markup('<rect class="band" width="100%" y="{}%" height="{}%"/>').format(
                percent_of(1 - high / top), percent_of((high - low) / top)
            )
        )
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
