"""Readouts: the scalar f of the network's output that is differentiated, and its cotangent in closed form.

With o the output, y its target (both [n, C, H, W], D = C·H·W elements per example) and t the timestep:

    name           f                        ∂f/∂o               used by
    loss           w_t ‖o - y‖² / D         2 w_t (o - y) / D   TracIn, TRAK, Journey-TRAK, influence functions
    squared-norm   ‖o‖² / D                 2 o / D             D-TRAK (Zheng et al. 2024, "mean-squared-l2-norm")
    mean           Σ o / D                  1 / D               the released code of DAS
    l1-norm        ‖o‖₁ / D                 sign(o) / D         D-TRAK's ablation
    l1-loss        w_t ‖o - y‖₁ / D         w_t sign(o - y) / D the released code of Diffusion-ReTrac
    elbo           b_t ‖o - y‖² / D         2 b_t (o - y) / D   D-TRAK's ablation
    signs          √w_t ⟨v_k, o⟩ / D        √w_t v_k / D        the tangent kernel; v_k random signs of the k-th draw

w_t is the weight of the loss of training, 1 for most models, and b_t that of the variational bound. A training by
weighted least squares is one by plain least squares of √w_t o, whose Jacobian `signs` samples. The other readouts of
the output alone have no weight.

For the query side of Journey-TRAK, `loss` is the loss of the clean picture that a step of a sampling trajectory
predicts. All readouts share one forward pass, and each needs a backward pass of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whence.errors import ConfigError
from whence.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from whence.diffusion.model import DiffusionModel


def signs(stream: str, index: np.ndarray, count: int) -> Tensor:
    """Random signs of draws, float32 [n, count] of -1 and 1: a pure function of (stream, draw index)."""
    from whence.diffusion.philox import bits, keys

    different, place = np.unique(index, return_inverse=True)
    key = np.repeat(keys(f"signs {stream}", 0, [""]), len(different), 0)
    words = bits(key, different, -(-count // 32)).astype("<u4")
    unpacked = np.unpackbits(words.view(np.uint8), axis=1, count=count, bitorder="little")
    return torch.from_numpy(2.0 * unpacked[place].astype(np.float32) - 1.0)


@dataclass(frozen=True)
class Outcome:
    """The output o and its target y for a batch, [n, C, H, W].

    Attributes:
        output: o.
        target: y.
        weight: w_t of the loss (`Process.weight`), [n].
        elbo_weight: That of the variational bound (`Process.elbo_weight`), [n].
        index: Draw index, [n].
        canvas: Height and width of the canvas on which signs are drawn, of which the output gets the centre; None for
            that of the output.
    """

    output: Tensor
    target: Tensor
    weight: Tensor
    elbo_weight: Tensor
    index: np.ndarray | None = None
    canvas: tuple[int, int] | None = None

    @property
    def residual(self) -> Tensor:
        """The residual o - y, [n, C, H, W]."""
        return self.output - self.target

    @property
    def signs(self) -> Tensor:
        """Random signs v_k, the same for the k-th draw of every example, [n, C, H, W]."""
        from whence.diffusion.draws import centre, on_canvas

        index = np.zeros(len(self.output), np.int64) if self.index is None else self.index
        shape = on_canvas(self.output.shape[1:], self.canvas)
        drawn = signs("output", index, math.prod(shape)).reshape(-1, *shape)
        return centre(drawn, self.output.shape[1:]).to(self.output)


@dataclass(frozen=True)
class Readout:
    """A scalar of the output of each row, and its derivative.

    Attributes:
        name: Its name in settings and artefacts.
        value: f of every row, [n].
        gradient: D ∂f/∂o, [n, C, H, W]; `cotangent` divides by D.
        apart: Whether gradients are multiplied by random signs of their draw. Then inner products of sums over draws
            are, in expectation, sums of inner products at the same draw.
    """

    name: str
    value: Callable[[Outcome], Tensor]
    gradient: Callable[[Outcome], Tensor]
    apart: bool = False

    def cotangent(self, outcome: Outcome) -> Tensor:
        """∂f/∂o of every row, [n, C, H, W]."""
        return self.gradient(outcome) / outcome.output[0].numel()


def _per_row(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def _like(weight: Tensor, output: Tensor) -> Tensor:
    return weight.to(output.dtype).reshape(-1, *[1] * (output.dim() - 1))


READOUTS: dict[str, Readout] = {
    readout.name: readout
    for readout in (
        Readout(
            "loss",
            lambda r: r.weight.to(r.output.dtype) * _per_row(r.residual.square()),
            lambda r: 2 * _like(r.weight, r.output) * r.residual,
        ),
        Readout("squared-norm", lambda r: _per_row(r.output.square()), lambda r: 2 * r.output),
        Readout("mean", lambda r: _per_row(r.output), lambda r: torch.ones_like(r.output)),
        Readout("l1-norm", lambda r: _per_row(r.output.abs()), lambda r: r.output.sign()),
        Readout(
            "l1-loss",
            lambda r: r.weight.to(r.output.dtype) * _per_row(r.residual.abs()),
            lambda r: _like(r.weight, r.output) * r.residual.sign(),
        ),
        Readout(
            "elbo",
            lambda r: r.elbo_weight.to(r.output.dtype) * _per_row(r.residual.square()),
            lambda r: 2 * _like(r.elbo_weight, r.output) * r.residual,
        ),
        Readout(
            "signs",
            lambda r: r.weight.sqrt().to(r.output.dtype) * _per_row(r.signs * r.output),
            lambda r: _like(r.weight.sqrt(), r.output) * r.signs,
            apart=True,
        ),
    )
}


def readout(name: str) -> Readout:
    """The readout of that name."""
    if name not in READOUTS:
        raise ConfigError(f"There is no readout {name!r}; there are {', '.join(READOUTS)}.")
    return READOUTS[name]


def outcome(
    model: DiffusionModel,
    output: Tensor,
    x: Tensor,
    t: Tensor,
    noise: Tensor,
    index: np.ndarray | None = None,
    canvas: tuple[int, int] | None = None,
) -> Outcome:
    """What the readouts need of a batch: the output (detached, float32), target, weight, draw index and canvas."""
    detached = output.detach().float()
    process = model.process
    return Outcome(detached, process.target(x, t, noise), process.weight(t), process.elbo_weight(t), index, canvas)
