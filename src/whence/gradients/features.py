"""Features of examples: the compressed gradient of a readout, summed over draws in groups.

    φ_n = 1/T Σ_t P g_f(x_n, t, ε_nt)                        [n, p]
    φ_n = 1/T Σ_t P g_f(x_n, t, ε_nt) / ‖P g_f(x_n, t, ε_nt)‖   normalised draw by draw (Diffusion-ReTrac, DAS)
    φ_n = 1/T Σ_t s_t ∘ P g_f(x_n, t, ε_t)           draws kept apart by random signs s_t [p] (the tangent kernel)

Of queries with a focus (`whence.diffusion.focus`), g_f is the gradient of the readout within the mask, minus that with
the conditions without the concept, at the same x_t. Norms are of these gradients, losses those of the whole picture.

A row of a batch is a pair of example and draw. Batches have a fixed size; padding has the cotangent 0. Draws are added
one after the other, each to its group, so that the sum over 100 draws can go on from the sum over 10, bit for bit.
Standard errors come from the groups (jackknife).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.denoiser import on_device
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, Report
from whence.errors import NotFiniteError
from whence.gradients.collector import Collector
from whence.gradients.draw_sources import DrawSource
from whence.gradients.readouts import READOUTS, Outcome, outcome, readout, signs
from whence.scores.jackknife import GROUPS


def group(index: int) -> int:
    """Return the group of a draw.

    Of 8 consecutive draws, the k-th one lies in the k-th eighth of the timesteps, in the order of bit reversal. So a
    group gets another eighth in every 8 draws, and is spread over all timesteps after 64 draws.
    """
    return (index + index // GROUPS) % GROUPS


@dataclass(frozen=True, order=True)
class Feature:
    """A kind of features: what is differentiated, and whether the features of a draw are divided by their norm."""

    readout: str
    normalised: bool = False

    @property
    def name(self) -> str:
        """Its name on disk."""
        return f"{self.readout}-normalised" if self.normalised else self.readout


@dataclass
class Sums:
    """Features of n examples, summed over draws.

    Attributes:
        sums: Sums over each group of draws, float32 [8, n, p].
        norms: ‖P g‖ of every draw, float32 [n, T].
        losses: Loss of every draw, float32 [n, T].
    """

    sums: Tensor
    norms: Tensor
    losses: Tensor

    @classmethod
    def empty(cls, count: int, width: int) -> Sums:
        """Return sums over no draws."""
        return cls(torch.zeros(GROUPS, count, width), torch.zeros(count, 0), torch.zeros(count, 0))

    def mean(self, without: int | None = None) -> Tensor:
        """The mean over the draws, or over the draws outside of one group, float32 [n, p]."""
        total = self.sums.sum(0) if without is None else self.sums.sum(0).sub_(self.sums[without])
        return total.div_(int(outside(self.losses.shape[1], without).sum()))

    def loss(self, without: int | None = None) -> Tensor:
        """Mean loss of every example over the draws, or over the draws outside of one group, float32 [n]."""
        return self.losses[:, outside(self.losses.shape[1], without)].mean(1)


def outside(draws: int, without: int | None) -> Tensor:
    """Return which of the draws are not in a group, bool [T]."""
    return torch.tensor([group(index) != without for index in range(draws)])


def batch_shape(count: int, batch: int) -> tuple[int, int]:
    """How many examples and how many draws of each make a batch, for a set of `count` examples."""
    examples = min(batch, 1 << (count - 1).bit_length())
    return examples, batch // examples


def add_draws(
    model: DiffusionModel,
    collector: Collector,
    examples: Examples,
    source: DrawSource,
    indices: range,
    sums: dict[Feature, Sums],
    batch: int,
    engine: Engine = DEFAULT,
) -> None:
    """Add the features of more draws of at most `batch` examples, sorted, to the sums so far, in place.

    `batch` is the number of rows of a batch, a power of 2. A batch has one shape: examples of several are taken shape
    by shape. The model is on the device where networks run. The engine's report is called with (draws done, draws in
    all).

    Raises:
        NotFiniteError: The features of an example are not finite.
    """
    parts, done, start = examples.by_shape(), [], 0
    for part in parts:
        rows = slice(start, start + len(part))
        assert part.ids == examples.ids[rows]
        own = {kind: Sums(of.sums[:, rows], of.norms[rows], of.losses[rows]) for kind, of in sums.items()}
        report = partial(_report_draws, engine.report, start, len(part), len(examples))
        _add_draws(model, collector, part, source, indices, own, batch, engine.reporting(report))
        done.append(own)
        start = rows.stop
    for kind, total in sums.items():
        total.norms = torch.cat([own[kind].norms for own in done])
        total.losses = torch.cat([own[kind].losses for own in done])


def _report_draws(report: Report, before: int, count: int, every: int, draws: int, total: int) -> None:
    """Report draws of `count` examples, after those `before` them, as draws of `every` example."""
    report((before * total + count * draws) // every, total)


def _add_draws(
    model: DiffusionModel,
    collector: Collector,
    examples: Examples,
    source: DrawSource,
    indices: range,
    sums: dict[Feature, Sums],
    batch: int,
    engine: Engine,
) -> None:
    """Add the features of more draws of examples of one shape."""
    count, per_batch = batch_shape(len(examples), batch)
    norms: dict[Feature, list[Tensor]] = {feature: [] for feature in sums}
    losses: list[Tensor] = []
    for first in range(indices.start - indices.start % per_batch, indices.stop, per_batch):
        block = range(max(first, indices.start), min(first + per_batch, indices.stop))
        features, loss = _rows(model, collector, examples, source, first, block, sums, batch)
        for index in block:
            rows = slice((index - first) * count, (index - first) * count + len(examples))
            for feature, total in sums.items():
                part = features[feature.readout][rows]
                norm = torch.linalg.vector_norm(part, dim=1)
                if not torch.isfinite(norm).all():
                    _refuse(part, examples.ids, feature.readout, collector)
                if feature.normalised:  # features of length 0 stay 0
                    part = part / norm.clamp_min(torch.finfo(norm.dtype).tiny)[:, None]
                if READOUTS[feature.readout].apart:
                    part = part * signs("draw", np.array([index]), part.shape[1]).to(part)
                total.sums[group(index)] += part
                norms[feature].append(norm)
            losses.append(loss[rows])
        engine.report(block.stop - indices.start, len(indices))
    for feature, total in sums.items():
        total.norms = torch.cat([total.norms, torch.stack(norms[feature], 1)], 1)
        total.losses = torch.cat([total.losses, torch.stack(losses, 1)], 1)


def _rows(
    model: DiffusionModel,
    collector: Collector,
    examples: Examples,
    source: DrawSource,
    first: int,
    block: range,
    sums: dict[Feature, Sums],
    batch: int,
) -> tuple[dict[str, Tensor], Tensor]:
    """Features by readout [batch, p] and losses [batch] of a canonical batch, draw by draw."""
    count, _ = batch_shape(len(examples), batch)
    example, index = np.arange(batch) % count, first + np.arange(batch) // count
    used = torch.from_numpy((example < len(examples)) & (index >= block.start) & (index < block.stop))
    row = torch.from_numpy(np.where(example < len(examples), example, 0))
    place = model.device
    ids = [examples.ids[n] for n in row.tolist()]
    x, (t, noise) = source.x(examples, row, index).to(place), source(ids, index, examples.size, place)
    x_t, names = model.process.noised(x, t, noise), sorted({feature.readout for feature in sums})

    def collect(conditions: Mapping[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return the features by each readout [batch, p], and the losses [batch], under some conditions of the rows."""
        outcomes: list[Outcome] = []

        def cotangent(name: str, output: Tensor) -> Tensor:
            """Return ∂f/∂output of the rows in use, and 0 for the padding."""
            if not outcomes:
                outcomes.append(outcome(model, output, x, t, noise, index, source.canvas))
            values = readout(name).cotangent(outcomes[0])
            values = values if examples.focus is None else examples.focus.cotangent(values, row)
            return torch.where(used.to(place).reshape(-1, *[1] * (values.dim() - 1)), values, 0).to(output.dtype)

        cotangents = [partial(cotangent, name) for name in names]
        of_rows = on_device(source.conditions(conditions, ids, index), place)
        collected = collector(x_t, t, cotangents, conditions=of_rows)
        return [values.cpu() for values in collected], READOUTS["loss"].value(outcomes[0]).cpu()

    features, loss = collect(examples.conditions_of(row))
    if examples.focus is not None and examples.focus.without:
        without, _ = collect(examples.focus.conditions_of(row))
        features = [values - other for values, other in zip(features, without, strict=True)]
    return dict(zip(names, features, strict=True)), loss


def _refuse(features: Tensor, ids: Sequence[str], name: str, collector: Collector) -> NoReturn:
    """Refuse features of one draw that are not finite; the message names the example and the layer."""
    bad = ~torch.isfinite(features)
    columns = bad.any(0)
    layers = [layer for layer, (_, place) in collector.maps.by_layer.items() if columns[place].any()]
    examples = [ids[n] for n in bad.any(1).nonzero().flatten()] or list(ids)
    weights = [key for key, value in collector.network.named_parameters() if not torch.isfinite(value).all()]
    cause = f"the weights {weights[0]} are not finite" if weights else "the weights are finite, so look at the images"
    raise NotFiniteError(
        f"The gradient of {name!r} is not finite for {examples[0]!r} ({len(examples)} of {len(ids)} examples), in the "
        f"layer {(layers or ['(all together)'])[0]!r} ({len(layers)} of {len(collector.maps.by_layer)}); {cause}."
    )
