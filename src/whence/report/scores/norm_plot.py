"""The norm of gradients against the timestep: it shows whether few timesteps dominate the scores."""

from __future__ import annotations

import torch
from markupsafe import Markup
from torch import Tensor

from whence.errors import DataError
from whence.report.plot import SIDE, along, frame, square, tick_x, tick_y
from whence.statistics.ticks import linear_ticks, log_ticks

#: Bins of timesteps at most, and pairs in a bin on average at least.
BINS, PAIRS = 40, 10


def norm_plot(timesteps: Tensor, norms: Tensor, anchor: str, title: str) -> Markup:
    """Plot median and middle 80% of gradient norms [n] over bins of their timesteps [n], on a logarithmic axis.

    Returns:
        The plot.

    Raises:
        DataError: There are no pairs of finite numbers, or no norm is above 0.
    """
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
    return frame(
        [*parts, square(curves)], anchor, title, description, ("gradient norm", "timestep, from clean to noise")
    )


def norm_quantiles(timesteps: Tensor, norms: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean timestep [b] and the 10%, 50% and 90% quantiles of norms [b, 3] of every bin that is not empty.

    Example:
        >>> middles, quantiles = norm_quantiles(torch.tensor([0.0, 10.0]), torch.tensor([3.0, 3.0]))
        >>> middles.tolist(), quantiles.tolist()
        ([5.0], [[3.0, 3.0, 3.0]])
    """
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
