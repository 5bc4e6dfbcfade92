"""Round numbers for the axes of plots."""

from __future__ import annotations

import math

#: First digits of the ticks of a decade, from few ticks to many.
STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))


def linear_ticks(top: float, most: int = 5) -> list[float]:
    """Return round numbers from 0 up to `top` with at most `most` intervals between them.

    Example:
        >>> linear_ticks(2.3), linear_ticks(256, 4)
        ([0.0, 0.5, 1.0, 1.5, 2.0], [0.0, 100.0, 200.0])
    """
    step = next(
        size * 10.0**power
        for power in range(math.floor(math.log10(top / most)), 310)
        for size in (1, 2, 5)
        if size * 10.0**power * most >= top
    )
    return [float(f"{k * step:.12g}") for k in range(int(top / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from `low` to `high` for a logarithmic axis: at least 3, if STEPS has so many.

    Example:
        >>> log_ticks(100, 1700), log_ticks(1, 4)
        ([100.0, 300.0, 1000.0], [1.0, 1.5, 2.0, 3.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in STEPS:
        ticks = [float(f"{step}e{power}") for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks
