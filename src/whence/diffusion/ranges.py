"""Checks that examples are what a model expects: their size, and the range of their values.

A model that was trained on pictures in [0, 1] gives numbers for pictures in [-1, 1] too, but they are wrong. So the
errors of the model on the pictures x and y = (x + 1) / 2 are compared, with the same draws. Each error is relative to
the variance v of the values:

    R(x) = mean over n, t of  |x̂0(x_t, t) - x|² / (D v)

y_t has half the contrast of x_t: it is what x_t becomes under more noise, so it holds less of the picture. The best
estimate of x from x_t is never worse than the best estimate from y_t. So R(y) < R(x) says that the model doesn't know
pictures in [-1, 1]. This is also true of a model that has learned nothing, which must pass. Such a model is told by the
best estimate of a value from its noised value alone (Wiener), which knows only mean and variance of all values:

    W(x) = mean over t of  ρ_t / (v + ρ_t),   ρ_t = noise / signal = (1 - level_t) / level_t

A model knows pictures in [0, 1] if R(y) is below W(y).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from whence.diffusion.denoiser import on_device
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel
from whence.errors import DataError, NotFiniteError

EXAMPLES = 64
DRAWS = 8
#: Signal levels at which errors are compared: so much noise that knowledge of pictures matters, so much picture that
#: something can be seen.
SIGNAL = (0.05, 0.95)
#: A model knows pictures in [0, 1] if R(y) < MARGIN W(y). It knows no others if R(y) < MARGIN R(x) too.
MARGIN = 0.95
#: Largest excess over 1 that rounding may give a value.
TOLERANCE = 1e-3
#: Smallest variance of the values at which ranges can be told apart.
CONTRAST = 1e-3


def require_size(model: DiffusionModel, x: Tensor, what: str) -> None:
    """Check that examples have the shape that the model takes.

    Args:
        model: The model.
        x: Examples [n, ...].
        what: The name of the examples in the message: ``"training images"``, ``"queries"``.

    Raises:
        DataError: They have another shape.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 8, 8), seed=0)
        >>> require_size(model, torch.zeros(5, 3, 16, 16), "queries")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        whence.errors.DataError: The queries are 3x16x16; the model takes 1x8x8 (C x H x W). ...
    """
    size, expected = tuple(x.shape[1:]), model.size
    if size == expected:
        return
    sizes = f"The {what} are {_shape(size)}; the model takes {_shape(expected)}"
    if len(size) != 3 or len(expected) != 3:
        raise DataError(f"{sizes}. Give examples of the shape of those that the model was trained on.")
    changes = []
    if size[1:] != expected[1:]:
        changes.append(f"resized to {expected[2]}x{expected[1]} pixels")
    if size[0] != expected[0]:
        changes.append("in grey" if expected[0] == 1 else f"with {expected[0]} channels")
    raise DataError(f"{sizes} (C x H x W). Give them as the model's training images were: {' and '.join(changes)}.")


def require_pictures(x: Tensor, ids: Sequence[str]) -> None:
    """Check that the values of pictures [n, C, H, W] are in [-1, 1].

    Raises:
        NotFiniteError: A value is NaN or infinite; the message names the example.
        DataError: A value is outside; the message names the example.

    Example:
        >>> require_pictures(torch.tensor([[0.0], [255.0]]), ["a", "b"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        whence.errors.DataError: The values of 'b' are between 255 and 255 (1 of 2 pictures is outside [-1, 1]). ...
    """
    rows = x.flatten(1)
    for bad in (~torch.isfinite(rows)).any(1).nonzero().flatten()[:1].tolist():
        raise NotFiniteError(f"The picture {ids[bad]!r} has values that are not finite. Leave it out or restore it.")
    outside = (rows.abs() > 1 + TOLERANCE).any(1).nonzero().flatten().tolist()
    if outside:
        first, count = rows[outside[0]], len(outside)
        raise DataError(
            f"The values of {ids[outside[0]]!r} are between {first.min():g} and {first.max():g} ({count} of {len(x)} "
            f"pictures {'is' if count == 1 else 'are'} outside [-1, 1]). Scale pixels of 0 ... 255 by x / 127.5 - 1."
        )


def require_range(model: DiffusionModel, x: Tensor, ids: Sequence[str], **conditions: Tensor) -> None:
    """Check that pictures are in [-1, 1] and that the model wasn't trained on pictures in [0, 1].

    A model that has learned little or nothing passes, since what it expects can't be known.

    Args:
        model: The model, in eval mode.
        x: Pictures [n, C, H, W] of the kind it was trained on; the first 64 are used.
        ids: Their ids, n; they name the draws.
        **conditions: Further arguments of the network; n rows each.

    Raises:
        DataError: A value is outside [-1, 1], or the model explains the same pictures in [0, 1] much better.
        NotFiniteError: A value is NaN or infinite.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 8, 8), seed=0)
        >>> require_range(model, torch.eye(8).repeat(4, 1, 1, 1) * 2 - 1, list("abcd"))
    """
    require_pictures(x, ids)
    x, names = x[:EXAMPLES], ids[:EXAMPLES]
    conditions = {name: tensor[:EXAMPLES] for name, tensor in conditions.items()}
    if float(x.double().var(correction=0)) < CONTRAST:
        return
    full, _ = relative_error(model, x, names, **conditions)
    half, ignorant = relative_error(model, (x + 1) / 2, names, **conditions)
    if half < MARGIN * min(full, ignorant):
        raise DataError(
            f"The model seems to be trained on pictures with values in [0, 1]; given are values in [-1, 1]. Its "
            f"relative error is {full:.2f} on {len(x)} of the pictures as given and {half:.2f} on the same in [0, 1]. "
            "Whence gives every model pictures in [-1, 1], as the pipelines of diffusers do: train it on 2 x - 1."
        )


@torch.no_grad()
def relative_error(model: DiffusionModel, x: Tensor, ids: Sequence[str], **conditions: Tensor) -> tuple[float, float]:
    """Return R(x), the error of the clean pictures that a model predicts, and W(x), the error of the best guess.

    Args:
        model: The model, in eval mode.
        x: Pictures [n, C, H, W].
        ids: Their ids, n; they name the draws.
        **conditions: Further arguments of the network; n rows each.

    Returns:
        Both in units of the variance of the values; infinite if the schedule has no such timesteps.

    Example:
        >>> class Same(torch.nn.Module):
        ...     def forward(self, x_t, t):
        ...         return x_t
        >>> from diffusers import DDPMScheduler
        >>> model = DiffusionModel(Same(), DDPMScheduler(prediction_type="sample"), shape=(1, 8, 8))
        >>> error, guess = relative_error(model, torch.eye(8).repeat(4, 1, 1, 1) * 2 - 1, list("abcd"))
        >>> error > guess
        True
    """
    process, device = model.process, model.device
    level = process.signal_level(torch.arange(process.timesteps))
    allowed = ((level >= SIGNAL[0]) & (level <= SIGNAL[1])).nonzero().flatten()
    if not len(allowed):
        return math.inf, math.inf
    draws, v = Draws(seed=0, timesteps=len(allowed)), float(x.double().var(correction=0))
    conditions = on_device(conditions, device)
    errors, guesses = [], []
    for k in range(DRAWS):
        index, noise = draws(ids, [k] * len(x), x.shape[1:])
        t = allowed[index]
        x_t = process.noised(x, t, noise).to(device)
        clean = process.clean(model.output(x_t, t.to(device), **conditions), x_t, t.to(device)).cpu()
        errors.append((clean - x).double().square().mean() / v)
        rho = (1 - level[t]) / level[t]
        guesses.append((rho / (v + rho)).mean())
    return float(torch.stack(errors).mean()), float(torch.stack(guesses).mean())


def _shape(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
