"""Checks that examples are what a model expects: their size and range, and losses that are finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from whence.config import Config, TrainingConfig
from whence.diffusion.codec import Pixels
from whence.diffusion.denoiser import NO_CONDITIONS, on_device
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.latents import Latents
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError, DataError, ModelError, NotFiniteError
from whence.images import require_pictures

EXAMPLES = 64
DRAWS = 8
#: Signal levels at which errors are compared: so much noise that knowledge of pictures matters, so much picture that
#: something can be seen.
SIGNAL = (0.05, 0.95)
#: A model knows pictures in [0, 1] if R(y) < MARGIN W(y). It knows no others if R(y) < MARGIN R(x) too.
MARGIN = 0.95
#: Smallest variance of the values at which ranges can be told apart.
CONTRAST = 1e-3


def require_size(model: DiffusionModel, x: Tensor | Latents, what: str) -> None:
    """Check that examples [n, ...] have the shape that the model takes; `what` names them: ``"queries"``."""
    size, expected = tuple(x.shape[1:]), model.size
    if size == expected:
        return
    if not isinstance(model.codec, Pixels):
        given, own = model.codec.picture_size(size), model.codec.picture_size(expected)
        raise DataError(
            f"The {what} have {given[2]}x{given[1]} pixels; the model draws {own[2]}x{own[1]}. Give --resolution "
            f"{own[1]}, or --resolution {given[1]} if the model was trained at that size (latents {_shape(size)})."
        )
    sizes = f"The {what} are {_shape(size)}; the model takes {_shape(expected)}"
    if len(size) != 3 or len(expected) != 3:
        raise DataError(f"{sizes}. Give examples of the shape of those that the model was trained on.")
    changes = []
    if size[1:] != expected[1:]:
        changes.append(f"resized to {expected[2]}x{expected[1]} pixels")
    if size[0] != expected[0]:
        changes.append("in grey" if expected[0] == 1 else f"with {expected[0]} channels")
    raise DataError(f"{sizes} (C x H x W). Give them as the model's training images were: {' and '.join(changes)}.")


def require_shapes(
    model: DiffusionModel, examples: Examples, what: str, known: Collection[tuple[int, ...]] = ()
) -> None:
    """Check that a model takes examples: of the one shape that it draws, or of shapes of about its area.

    Those of several shapes, and of one of latents that is no square, are taken as those of a trainer's buckets. Each
    goes through the network once, but for those that are `known`.

    Raises:
        DataError: The model draws another shape; or a bucket is larger than its area, or the network can't take it.
    """
    sizes, drawn = sorted(set(examples.sizes)), model.size
    if len(set(known)) > 1 and set(sizes) <= set(known):
        return None
    if len(sizes) == 1 and (isinstance(model.codec, Pixels) or len(set(sizes[0][1:])) == 1 or sizes[0] == drawn):
        return require_size(model, torch.empty(0, *sizes[0]), what)
    for size in sizes:
        if len(size) != len(drawn) or size[0] != drawn[0]:
            require_size(model, torch.empty(0, *size), what)
        if math.prod(size) > math.prod(drawn):
            given, own = (model.codec.picture_size(one) for one in (size, drawn))
            side = math.isqrt(math.prod(given[1:]) - 1) + 1
            raise DataError(
                f"The {what} are up to {given[2]}x{given[1]} pixels; the model draws {own[2]}x{own[1]}, and buckets "
                f"are not larger. If it was trained on such pictures, give their area, such as --resolution {side} "
                "--buckets 64; if not, a smaller --resolution."
            )
    for part in examples.by_shape():
        if part.sizes[0] != drawn and part.sizes[0] not in known:
            _require_taken(model, part.head(1), what)


@torch.no_grad()
def _require_taken(model: DiffusionModel, example: Examples, what: str) -> None:
    """Check that the network takes an example, whatever it says of it."""
    t = torch.tensor([model.process.timesteps // 2], device=model.device)
    x = example.x([0]).to(model.device)
    try:
        model.output(x, t, **on_device(example.conditions_of([0]), model.device))
    except (ModelError, RuntimeError, ValueError, IndexError) as error:
        size = model.codec.picture_size(example.sizes[0])
        raise DataError(
            f"The network can't take {what} of {size[2]}x{size[1]} pixels, such as {example.ids[0]!r}: "
            f"{str(error).splitlines()[0]} Give buckets of larger steps, or --resolution without --buckets."
        ) from error


def require_range(model: DiffusionModel, x: Tensor, ids: Sequence[str], **conditions: Tensor) -> None:
    """Check that pictures are in [-1, 1] and that the model, in eval mode, wasn't trained on pictures in [0, 1].

    Such a model gives numbers for pictures x in [-1, 1] too, but they are wrong. So the `relative_error` R of the first
    64 pictures x is compared with that of y = (x + 1) / 2, with the same draws, which the ids name. y_t has half the
    contrast of x_t: it is what x_t becomes under more noise. So the best estimate of x from x_t is no worse than that
    from y_t, and R(y) < R(x) says that the model doesn't know pictures in [-1, 1]. The same can be true of a model that
    has learned nothing, which must pass. So R(y) must be below W(y), the error of a guess that knows only the variance.

    Raises:
        DataError: A value is outside [-1, 1], or the model explains the same pictures in [0, 1] much better.
        NotFiniteError: A value is NaN or infinite.
    """
    require_pictures(x, ids, warn=False)
    x, names = x[:EXAMPLES], ids[:EXAMPLES]
    conditions = {name: tensor[:EXAMPLES] for name, tensor in conditions.items()}
    if float(x.double().var(correction=0)) < CONTRAST:
        return
    half, ignorant = relative_error(model, (x + 1) / 2, names, **conditions)
    if half >= MARGIN * ignorant:
        return
    full, _ = relative_error(model, x, names, **conditions)
    if half < MARGIN * full:
        raise DataError(
            f"The model seems to be trained on pictures with values in [0, 1]; given are values in [-1, 1]. Its "
            f"relative error is {full:.2f} on {len(x)} of the pictures as given and {half:.2f} on the same in [0, 1]. "
            "Whence gives every model pictures in [-1, 1], as the pipelines of diffusers do: train it on 2 x - 1."
        )


@torch.no_grad()
def relative_error(model: DiffusionModel, x: Tensor, ids: Sequence[str], **conditions: Tensor) -> tuple[float, float]:
    """Return R(x), the error of the clean pictures that a model predicts, and W(x), that of a guess that knows v alone.

        R(x) = mean over n, t of  |x̂0(x_t, t) - x|² / (D v),      v = variance of the values
        W(x) = mean over t of  ρ_t / (v + ρ_t),      ρ_t = noise / signal = (1 - level_t) / level_t    (Wiener)

    Both are infinite if the schedule has no timesteps with such signal levels.
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


def require_finite(
    model: DiffusionModel,
    x: Tensor,
    t: Tensor,
    noise: Tensor,
    ids: Sequence[str],
    where: str,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
) -> None:
    """Run a batch again, and name the first layer and the examples whose loss is not finite.

    `where` is the place in the work, for the message: ``"training step 3"``.

    Raises:
        NotFiniteError: A loss is not finite.
    """
    first: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            if not first and isinstance(output, Tensor) and not torch.isfinite(output).all():
                first.append(name)

        return hook

    leaves = [(n, m) for n, m in model.network.named_modules() if n and not list(m.children())]
    handles = [layer.register_forward_hook(watch(name)) for name, layer in leaves]
    device = model.device
    try:
        with torch.no_grad():
            losses = model.loss(x.to(device), t.to(device), noise.to(device), **on_device(conditions, device)).cpu()
    finally:
        for handle in handles:
            handle.remove()
    bad = [name for name, value in zip(ids, losses, strict=True) if not torch.isfinite(value)]
    if bad:
        shown = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        weights = [n for n, p in model.network.named_parameters() if not torch.isfinite(p).all()]
        cause = f"the weights of {weights[0]} are not finite" if weights else "its weights are finite"
        raise NotFiniteError(
            f"Not a finite loss in {where}, for {shown}. The first layer whose output is not finite is "
            f"{first[0] if first else 'none (the images themselves)'}; {cause}. "
            "A lower training.learning_rate usually helps."
        )


def _shape(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def refuse_adapter(config: Config) -> None:
    """Refuse settings of an adapter where a whole network is trained.

    Raises:
        ConfigError: There are some.
    """
    if config.adapter is not None:
        raise ConfigError("There are settings of an adapter, but no base to train it on. Give one: --base BASE.")


def refuse_caption_dropout(training: TrainingConfig) -> None:
    """Refuse caption dropout of a network that takes no captions.

    Raises:
        ConfigError: The settings drop captions.
    """
    if training.caption_dropout:
        raise ConfigError(
            "training.caption_dropout is for networks that take captions: adapters (--base), and networks of latents "
            "with a text encoder (--autoencoder and --text-encoder)."
        )
