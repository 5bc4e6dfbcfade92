"""Features of examples: the compressed gradient of a readout, averaged over draws.

    φ_n = 1/T Σ_t P g_f(x_n, t, ε_nt)        [n, p]

Rows are filled example by example, `rows` draws of one after the other, into batches of a fixed size whose last one is
padded; padding has the cotangent 0. Blocks of draws are added in ascending order, so that the sum over 100 draws can go
on from that over 10, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from whence.diffusion.draws import Draws
from whence.diffusion.process import DiffusionModel
from whence.errors import ConfigError, NotFiniteError
from whence.gradients.collect import Collector
from whence.gradients.readouts import Readout, outcome, readout

#: Rows of a batch; part of what the last bits depend on.
BATCH = 256
#: Draws of an example that are summed within a batch; part of what the last bits depend on.
ROWS = 2


def summed_features(
    model: DiffusionModel,
    collector: Collector,
    x: Tensor,
    ids: Sequence[str],
    draws: Draws,
    indices: range,
    readouts: Sequence[str] = ("loss",),
    *,
    batch: int = BATCH,
    rows: int = ROWS,
    start: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Features of examples summed over draws; divide by their number for the mean.

    Args:
        model: The model, on the device where the work is done.
        collector: Of its network.
        x: Clean images float32 [n, C, H, W] in [-1, 1].
        ids: Their ids, n.
        draws: Gives timesteps and noise.
        indices: Indices of the draws to sum over; as many as a multiple of `rows`.
        readouts: Names of the readouts.
        batch: Rows of a batch, a multiple of `rows`.
        rows: Draws of one example that follow one another.
        start: Sums over earlier draws, which these are added to.

    Returns:
        Features of each readout, float32 [n, p] on the CPU.

    Raises:
        ConfigError: The numbers don't fit each other.
        NotFiniteError: The features of an example are not finite.
    """
    if not len(indices) or len(indices) % rows or batch % rows:
        raise ConfigError(
            f"{len(indices)} draws in batches of {batch} rows can't be summed {rows} by {rows}: both must be multiples."
        )
    chosen = [readout(name) for name in readouts]
    total = [start[name].clone() if start else torch.zeros(len(x), collector.maps.width) for name in readouts]
    for first in range(0, len(x), batch // rows):
        here = slice(first, min(first + batch // rows, len(x)))
        for begin in range(0, len(indices), rows):
            found = _block(model, collector, x[here], ids[here], draws, indices[begin : begin + rows], chosen, batch)
            for sums, part in zip(total, found, strict=True):
                sums[here] += part[: here.stop - here.start].cpu()
    for name, sums in zip(readouts, total, strict=True):
        _require_finite(sums, ids, name, collector)
    return dict(zip(readouts, total, strict=True))


def _block(
    model: DiffusionModel,
    collector: Collector,
    x: Tensor,
    ids: Sequence[str],
    draws: Draws,
    indices: range,
    readouts: Sequence[Readout],
    batch: int,
) -> list[Tensor]:
    """Features of one canonical batch: every example at all of the draws."""
    rows, place = len(indices), next(model.network.parameters()).device
    used = len(x) * rows
    examples = torch.zeros(batch, dtype=torch.long)
    examples[:used] = torch.arange(len(x)).repeat_interleave(rows)
    t, noise = draws([ids[n] for n in examples], list(indices) * (batch // rows), model.size)
    clean, t, noise = x[examples].to(place), t.to(place), noise.to(place)
    cotangents = [partial(_cotangent, model, clean, t, noise, used, each) for each in readouts]
    return collector(model.noised(clean, t, noise), t, cotangents, rows=rows)


def _cotangent(
    model: DiffusionModel, x: Tensor, t: Tensor, noise: Tensor, used: int, chosen: Readout, output: Tensor
) -> Tensor:
    """∂f/∂output of the rows in use, 0 for the padding."""
    values = chosen.cotangent(outcome(model, output, x, t, noise))
    values[used:] = 0
    return values.to(output.dtype)


def _require_finite(features: Tensor, ids: Sequence[str], name: str, collector: Collector) -> None:
    bad = ~torch.isfinite(features)
    if not bad.any():
        return
    columns = bad.any(0)
    layers = [layer for layer, (_, place) in collector.maps.by_layer.items() if columns[place].any()]
    examples = [ids[n] for n in bad.any(1).nonzero().flatten()]
    weights = [key for key, value in collector.network.named_parameters() if not torch.isfinite(value).all()]
    cause = f"the weights {weights[0]} are not finite" if weights else "the weights are finite, so look at the images"
    raise NotFiniteError(
        f"The gradient of {name!r} is not finite for {examples[0]!r} ({len(examples)} of {len(ids)} examples), in the "
        f"layer {layers[0]!r} ({len(layers)} of {len(collector.maps.by_layer)}); {cause}."
    )
