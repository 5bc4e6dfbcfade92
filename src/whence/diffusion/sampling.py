"""Drawing pictures with noise that can be derived again, and the clean pictures that a model predicts on the way.

The noise of picture SEED/INDEX before the first step and after the k-th is the k-th draw of the stream "picture" for
that name. The network works in float32; everything else is float64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from whence.config import SamplerConfig
from whence.diffusion.denoiser import NO_CONDITIONS, predict
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import CPU, keys, normals
from whence.diffusion.repeated import Repeated
from whence.engine import DEFAULT, Engine, one_thread
from whence.errors import ConfigError, NotFiniteError

#: From x_t (float32 [n, ...]) and t ([n]) to the network's output, float64 [n, ...].
Predict = Callable[[Tensor, Tensor], Tensor]
#: Further arguments of the network by name, a row for each picture.
Conditions = Mapping[str, Tensor | Repeated]
#: Called with (t, x̂0) at every step, from the noisiest: x̂0 as the step uses it, float64 [n, ...].
Observe = Callable[[float, Tensor], object]


def parse_name(name: str) -> tuple[int, int]:
    """The (SEED, INDEX) of a picture's name SEED/INDEX."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", name)
    if not match:
        raise ConfigError(f"A sample is named SEED/INDEX, like 0/3; given {name!r}.")
    return int(match[1]), int(match[2])


def picture_noise(
    names: Sequence[tuple[int, int]], step: int, shape: Sequence[int], device: torch.device = CPU
) -> Tensor:
    """Noise of the pictures (SEED, INDEX) at a step (0: the start), float32 [n, *shape]."""
    rows = {name: k for k, name in enumerate(dict.fromkeys(names))}
    key = np.concatenate([keys("picture", seed, [str(index)]) for seed, index in rows])
    return normals(key, np.full(len(rows), step), shape, device)[[rows[name] for name in names]]


def default_sampler(model: DiffusionModel) -> SamplerConfig:
    """Return how a model draws where nothing is said: without noise after the start, in 50 steps at most.

    That is DDIM, or Euler's method of flows. It is clipped as the scheduler says.
    """
    clip = bool(getattr(model.scheduler, "config", {}).get("clip_sample", False))
    return SamplerConfig(
        method=model.process.samplers[0], steps=min(SamplerConfig().steps, model.process.timesteps), clip=clip
    )


def draw(
    predict: Predict,
    model: DiffusionModel,
    config: SamplerConfig,
    names: Sequence[tuple[int, int]],
    engine: Engine = DEFAULT,
    observe: Observe | None = None,
) -> Tensor:
    """Return a picture for each (SEED, INDEX), float32 [n, C, H, W], from the process of a model.

    Pictures are in [-1, 1]; of a model of latents it is the latents that are returned.

    `predict` is the network or the mean of several, in canonical batches, and knows the conditions of its rows. Names
    may repeat where it treats the rows differently. The engine's report is called with (steps done, steps in all).

    Raises:
        NotFiniteError: A picture is not finite.
    """
    process = model.process
    steps = process.sampling_steps(config.steps, config.method)
    x = picture_noise(names, 0, model.size, engine.device).double()
    for k, (t, s) in enumerate(steps):
        output = predict(x.float(), torch.full((len(x),), t, device=x.device))
        if observe is not None:
            observe(t, process.clean_picture(config, x, output, t))
        noise = picture_noise(names, k + 1, model.size, x.device).double() if s >= 0 else None
        x = process.step(config, x, output, t, s, noise)
        engine.report(k + 1, len(steps))
    bad = [name for name, picture in zip(names, x, strict=True) if not torch.isfinite(picture).all()]
    if bad:
        raise NotFiniteError(f"Picture {bad[0][0]}/{bad[0][1]} is not finite ({len(bad)} of {len(names)} pictures).")
    bound = model.codec.bound
    return (x if bound is None else x.clamp(-bound, bound)).float().cpu()


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance of a drawing (Ho & Salimans 2022, eq. 6): o_u + s (o_c - o_u).

    o_c is the network's output under the conditions of a picture, o_u its output under the conditions of no picture.
    Where tokens keep their length, each is scaled to the length that it has in o_c (as Qwen-Image does).

    Attributes:
        scale: s; 1 gives o_c, 0 gives o_u.
        conditions: The conditions of o_u by name, with a row for every picture.
        kept_length: Height and width of the tokens that keep their length; None where none does.
    """

    scale: float
    conditions: Conditions
    kept_length: int | None = None


def guided(under: Callable[[Conditions], Predict], conditions: Conditions, guidance: Guidance | None = None) -> Predict:
    """Return the guided prediction of pictures of these conditions; without guidance it is o_c.

    `under` makes a prediction from conditions.
    """
    if guidance is None:
        return under(conditions)
    conditioned, unconditional, patch = under(conditions), under(guidance.conditions), guidance.kept_length

    def predict(x: Tensor, t: Tensor) -> Tensor:
        output, plain = conditioned(x, t), unconditional(x, t)
        found = plain + guidance.scale * (output - plain)
        return found if patch is None else found * _length(output, patch) / _length(found, patch)

    return predict


def _length(x: Tensor, patch: int) -> Tensor:
    """Return the length of the token that each position of x [n, c, h, w] belongs to, [n, 1, h, w]."""
    squares = F.avg_pool2d(x.square().sum(1, keepdim=True), patch) * patch**2
    return F.interpolate(squares.sqrt(), scale_factor=patch)


def draw_pictures(
    model: DiffusionModel,
    config: SamplerConfig,
    names: Sequence[str],
    engine: Engine = DEFAULT,
    observe: Observe | None = None,
    conditions: Conditions = NO_CONDITIONS,
    guidance: Guidance | None = None,
) -> Tensor:
    """Return the pictures SEED/INDEX by one model, float32 [n, C, H, W]; none depends on the others.

    They are in [-1, 1], or latents, as `draw` says.

    The network is put on the engine's device and into evaluation mode, so dropout is off. `conditions` are further
    arguments of the network by name, n rows each. The engine's report is called with (steps done, steps in all).

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 4, 4), seed=0)
        >>> config = SamplerConfig(method="ddim", steps=2)
        >>> both = draw_pictures(model, config, ["0/0", "0/1"])
        >>> torch.equal(both[1:], draw_pictures(model, config, ["0/1"]))
        True
    """
    network = model.network.to(engine.device).eval()

    def under(rows: Conditions) -> Predict:
        own = {name: rows[name][torch.arange(len(names))].to(engine.device) for name in rows}
        return lambda x, t: predict(network, x, t, config.batch_size, own).double()

    with one_thread():
        return draw(
            guided(under, conditions, guidance), model, config, [parse_name(name) for name in names], engine, observe
        )


def predicted_clean(
    model: DiffusionModel,
    config: SamplerConfig,
    names: Sequence[str],
    engine: Engine = DEFAULT,
    conditions: Conditions = NO_CONDITIONS,
    guidance: Guidance | None = None,
) -> tuple[list[float], Tensor]:
    """Return t of each of the S steps that draw Q pictures, from the noisiest, and its x̂0, float32 [S, Q, C, H, W].

    x̂0 is the clean picture that the network's output at x_t implies, clipped if the sampler clips. The last one,
    clamped to [-1, 1], is the picture that `draw_pictures` returns, if the number of steps divides T. Journey-TRAK
    (Georgiev et al. 2023) explains the steps by these pictures; the study of D-TRAK (Zheng et al. 2024) averages over
    them.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 4, 4), seed=0)
        >>> timesteps, clean = predicted_clean(model, SamplerConfig(method="ddim", steps=2), ["0/0"])
        >>> timesteps, clean.shape
        ([999, 499], torch.Size([2, 1, 1, 4, 4]))
    """
    timesteps: list[float] = []
    pictures: list[Tensor] = []

    def observe(t: float, clean: Tensor) -> None:
        timesteps.append(t)
        pictures.append(clean.float().cpu())

    draw_pictures(model, config, names, engine, observe, conditions, guidance)
    return timesteps, torch.stack(pictures)
