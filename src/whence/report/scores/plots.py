"""The plots of scores: the share of the largest in the sum of all |scores|, and gradient norms against timesteps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from whence.errors import DataError
from whence.report.plot import SIDE, along, frame, square, tick_x, tick_y
from whence.report.text import percent, round_number
from whence.scores.scores import Scores
from whence.statistics.ticks import linear_ticks, log_ticks

#: Points of a curve, and styles of lines.
POINTS, STYLES = 60, 12
#: Bins of timesteps at most, and pairs in a bin on average at least.
BINS, PAIRS = 40, 10


@dataclass(frozen=True, eq=False)
class Concentration:
    """How concentrated the scores of a method are, on average over queries."""

    name: str  # the method
    style: str  # class of its line
    curve: np.ndarray | None  # share at every one of `points`, float64; None where shares mean nothing
    shares: tuple[str, ...]  # shares of the largest scores, at the numbers of `share_counts`, in words


def share_curve(scores: Tensor, unsigned: bool = False) -> Tensor | None:
    """Return Σ over the k largest |s| / Σ|s| for k = 1 ... N, float64 [N]; None for distances and where all are 0."""
    sizes = scores.double().abs()
    if not sizes.any() or (unsigned and bool((scores < 0).any())):
        return None
    curve = sizes.sort(descending=True).values.cumsum(0)
    return curve / curve[-1]


def share_counts(count: int) -> list[int]:
    """Return the numbers k of largest scores whose share is stated for N examples: 1, 10, 100 and 1%, below N."""
    return sorted({k for k in (1, 10, 100, math.ceil(count / 100)) if k < count}) or [count]


def largest_phrase(k: int, count: int) -> str:
    """Return a phrase for the k largest of N: ``largest``, or ``largest 15 (1%)``."""
    percent = " (1%)" if k == math.ceil(count / 100) and count >= 100 else ""
    return f"largest{f' {k:,}' if k > 1 else ''}{percent}"


def share_sentence(curve: Tensor | None, count: int) -> str:
    """The shares of the largest scores of one query, in words; empty where they mean nothing."""
    if curve is None or count == 1:
        return ""
    phrases = [
        f"the {largest_phrase(k, count)} hold{'s' * (k == 1)} {percent(curve[k - 1].item())}"
        for k in share_counts(count)
    ]
    phrase = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return f"Of the sum of all {count:,} |scores|, {phrase}."


def concentrations(methods: Mapping[str, Scores]) -> list[Concentration]:
    """How concentrated the scores of every method are."""
    return [_concentration(name, f"line-{k % STYLES}", scores) for k, (name, scores) in enumerate(methods.items())]


def share_plot(methods: Sequence[Concentration], count: int, anchor: str) -> Markup:
    """Plot the curves of all methods that have one, and that of equal scores, over N = `count` examples, at least 2."""
    ks = points(count)
    across = [math.log(k) / math.log(count) for k in ks]
    curves = [(method, method.curve.tolist()) for method in methods if method.curve is not None]
    paths = {"equal": _path(across, [k / count for k in ks])}
    paths |= {method.style: _path(across, curve) for method, curve in curves}
    parts = [tick_y(k / 4, f"{25 * k}%") for k in range(5)]
    parts += [tick_x(math.log(k) / math.log(count), round_number(k)) for k in log_ticks(1, count) if k == int(k)]
    numbers = ", ".join(largest_phrase(k, count) for k in share_counts(count))
    shares = "; ".join(f"{method.name}: the largest hold {', '.join(method.shares)}" for method, _ in curves)
    return frame(
        [*parts, square(paths)],
        anchor,
        "Share of the sum of |score| against the number of largest scores",
        f"For the {numbers}. {shares}.",
        ("share of the sum of |score|", f"number of largest scores, of {count:,}"),
    )


def points(count: int) -> list[int]:
    """Return the numbers of largest scores at which a curve of N is drawn, evenly on a logarithmic axis."""
    return sorted({1, count, *(round(k) for k in np.geomspace(1, count, POINTS))})


def _concentration(name: str, style: str, scores: Scores) -> Concentration:
    count = len(scores.examples)
    all_curves = [share_curve(row, scores.sign == "unsigned") for row in scores.scores]
    curves = [curve for curve in all_curves if curve is not None]
    if not curves:
        return Concentration(name, style, None, ("–",) * len(share_counts(count)))
    heights = np.mean([curve[torch.tensor(points(count)) - 1].numpy() for curve in curves], axis=0)
    shares = [float(np.mean([curve[k - 1].item() for curve in curves])) for k in share_counts(count)]
    return Concentration(name, style, heights, tuple(map(percent, shares)))


def _path(across: Sequence[float], heights: Sequence[float]) -> str:
    places = (f"{SIDE * x:.0f} {SIDE * (1 - y):.0f}" for x, y in zip(across, heights, strict=True))
    return "M" + "L".join(places)


def norm_plot(timesteps: Tensor, norms: Tensor, anchor: str, title: str) -> Markup:
    """Plot median and middle 80% of gradient norms [n] over bins of their timesteps [n], on a logarithmic axis."""
    if timesteps.shape != norms.shape or not len(norms) or not (norms > 0).any() or not norms.isfinite().all():
        raise DataError(f"A plot of norms needs as many finite norms as timesteps, some above 0; given {title!r}.")
    middles, quantiles = norm_quantiles(timesteps, norms)
    quantiles = quantiles.clamp(min=norms[norms > 0].min().item())
    low, high = quantiles.min().item() / 1.25, quantiles.max().item() * 1.25
    top = max(float(timesteps.max()), 1.0)
    xs = [SIDE * t / top for t in middles.tolist()]
    lower, median, upper = (
        [f"{x:.0f} {SIDE * (1 - along(value, low, high)):.0f}" for x, value in zip(xs, row, strict=True)]
        for row in quantiles.T.tolist()
    )
    parts = [tick_y(along(tick, low, high), f"{tick:g}") for tick in log_ticks(low, high)]
    parts += [tick_x(tick / top, f"{tick:,.0f}") for tick in linear_ticks(top, 5)]
    curves = {"band": f"M{'L'.join([*lower, *reversed(upper)])}Z", "median": f"M{'L'.join(median)}h0"}
    smallest, biggest = quantiles[:, 1].argmin(), quantiles[:, 1].argmax()
    description = (
        f"The median is smallest near timestep {middles[smallest].item():.0f}, {quantiles[smallest, 1].item():.3g}, "
        f"and largest near timestep {middles[biggest].item():.0f}, {quantiles[biggest, 1].item():.3g}."
    )
    axes = ("gradient norm", "timestep, from clean to noise")
    return frame([*parts, square(curves)], anchor, title, description, axes)


def norm_quantiles(timesteps: Tensor, norms: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean timestep [b] and the 10%, 50% and 90% quantiles of norms [b, 3] of every bin with norms."""
    timesteps, norms = timesteps.double(), norms.double()
    bins = max(1, min(BINS, len(norms) // PAIRS))
    first, last = timesteps.min(), timesteps.max()
    place = ((timesteps - first) / (last - first).clamp(min=1e-300) * bins).long().clamp(max=bins - 1)
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    rows = [row for b in range(bins) if (row := place == b).any()]
    return (
        torch.stack([timesteps[row].mean() for row in rows]),
        torch.stack([torch.quantile(norms[row], levels) for row in rows]),
    )
