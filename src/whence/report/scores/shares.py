"""What share of the scores the few largest hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from whence.report.plots import SIDE, frame, square, tick_x, tick_y
from whence.report.scatter import short
from whence.scores.scores import Scores
from whence.statistics.ticks import log_ticks

#: Points of a curve, and styles of lines.
POINTS, STYLES = 60, 12


@dataclass(frozen=True, eq=False)
class Concentration:
    """How concentrated the scores of a method are, on average over queries.

    Attributes:
        name: The method.
        style: Class of its line.
        curve: Share at every one of `points`, float64; None where shares mean nothing.
        told: Shares at `kept`, in words.
    """

    name: str
    style: str
    curve: np.ndarray | None
    told: tuple[str, ...]


def share_curve(scores: Tensor, unsigned: bool = False) -> Tensor | None:
    """Return Σ over the k largest |s| / Σ|s| for k = 1 ... N, float64 [N].

    None where it means nothing: all scores are 0, or scores without a sign are below 0, as distances are.

    Example:
        >>> share_curve(torch.tensor([1.0, -6.0, 3.0])).tolist()
        [0.6, 0.9, 1.0]
    """
    sizes = scores.double().abs()
    if not sizes.any() or (unsigned and bool((scores < 0).any())):
        return None
    curve = sizes.sort(descending=True).values.cumsum(0)
    return curve / curve[-1]


def kept(count: int) -> list[int]:
    """Return the numbers k of largest scores that are told for N examples: 1, 10, 100 and 1%, below N.

    Example:
        >>> kept(1500), kept(40)
        ([1, 10, 15, 100], [1, 10])
    """
    return sorted({k for k in (1, 10, 100, math.ceil(count / 100)) if k < count}) or [count]


def largest(k: int, count: int) -> str:
    """Return how the k largest of N are called.

    Example:
        >>> largest(1, 1500), largest(15, 1500)
        ('largest', 'largest 15 (1%)')
    """
    percent = " (1%)" if k == math.ceil(count / 100) and count >= 100 else ""
    return f"largest{f' {k:,}' if k > 1 else ''}{percent}"


def share_sentence(curve: Tensor | None, count: int) -> str:
    """What the largest scores of one query hold, in words; empty where it means nothing."""
    if curve is None or count == 1:
        return ""
    told = [f"the {largest(k, count)} hold{'s' * (k == 1)} {percent(curve[k - 1].item())}" for k in kept(count)]
    listing = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    return f"Of the sum of all {count:,} |scores|, {listing}."


def percent(share: float) -> str:
    """Return a share as it can be read at a glance.

    Example:
        >>> percent(0.213), percent(0.0042), percent(0.00001)
        ('21%', '0.4%', 'less than 0.1%')
    """
    if share and share < 0.001:
        return "less than 0.1%"
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def concentrations(methods: Mapping[str, Scores]) -> list[Concentration]:
    """How concentrated the scores of every method are."""
    return [_concentration(name, f"line-{k % STYLES}", scores) for k, (name, scores) in enumerate(methods.items())]


def share_plot(found: Sequence[Concentration], count: int, anchor: str) -> Markup:
    """Curves of all methods that have one, over the shares that equal scores would have.

    Args:
        found: The methods.
        count: Number N of examples, at least 2.
        anchor: Id of the plot on the page.

    Returns:
        The plot.
    """
    ks = points(count)
    across = [math.log(k) / math.log(count) for k in ks]
    paths = {"equal": _path(across, [k / count for k in ks])}
    paths |= {one.style: _path(across, one.curve.tolist()) for one in found if one.curve is not None}
    parts = [tick_y(k / 4, f"{25 * k}%") for k in range(5)]
    parts += [tick_x(math.log(k) / math.log(count), short(k)) for k in log_ticks(1, count) if k == int(k)]
    told = "; ".join(f"{one.name}: the largest hold {', '.join(one.told)}" for one in found if one.curve is not None)
    return frame(
        [*parts, square(paths)],
        anchor,
        "Share of the sum of |score| against the number of largest scores",
        f"For the {', '.join(largest(k, count) for k in kept(count))}. {told}.",
        ("share of the sum of |score|", f"number of largest scores, of {count:,}"),
    )


def points(count: int) -> list[int]:
    """Return the numbers of largest scores at which a curve of N is drawn, evenly on a logarithmic axis."""
    return sorted({1, count, *(round(k) for k in np.geomspace(1, count, POINTS))})


def _concentration(name: str, style: str, scores: Scores) -> Concentration:
    count = len(scores.examples)
    curves = [share_curve(row, scores.sign == "unsigned") for row in scores.scores]
    defined = [curve for curve in curves if curve is not None]
    if not defined:
        return Concentration(name, style, None, ("–",) * len(kept(count)))
    drawn = [curve[torch.tensor(points(count)) - 1].numpy() for curve in defined]
    told = [float(np.mean([curve[k - 1].item() for curve in defined])) for k in kept(count)]
    return Concentration(name, style, np.mean(drawn, axis=0), tuple(map(percent, told)))


def _path(across: Sequence[float], heights: Sequence[float]) -> str:
    places = (f"{SIDE * x:.0f} {SIDE * (1 - y):.0f}" for x, y in zip(across, heights, strict=True))
    return "M" + "L".join(places)
