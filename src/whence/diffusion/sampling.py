"""Drawing pictures with noise that can be derived again.

One step from timestep t to an earlier s, with x̂0 the predicted clean picture (clipped if asked) and
ε̂ = (x_t - √ᾱ_t x̂0) / √(1 - ᾱ_t):

    σ²  = η² (1 - ᾱ_s) / (1 - ᾱ_t) · (1 - ᾱ_t / ᾱ_s)
    x_s = √ᾱ_s x̂0 + √(1 - ᾱ_s - σ²) ε̂ + σ ξ          (Song et al. 2021, eq. 12 and 16)

η = 1 is ancestral sampling (Ho et al. 2020, eq. 6 and 7), η = 0 is DDIM. The noise of picture
SEED/INDEX before the first and after the k-th step is the k-th draw of the stream "picture" for
that name. The network works in float32; everything else is float64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from whence.config import SamplerConfig
from whence.diffusion.draws import keys, normals
from whence.diffusion.process import DiffusionModel
from whence.engine import Report, device, silent
from whence.errors import ConfigError, NotFiniteError

#: From x_t (float32 [n, C, H, W]) and t (int64 [n]) to the network output, float64 [n, C, H, W].
Predict = Callable[[Tensor, Tensor], Tensor]
#: Told (t, x̂0) at every step, from the noisiest: x̂0 as the step uses it, float64 [n, C, H, W].
Observe = Callable[[int, Tensor], object]


def parse_name(name: str) -> tuple[int, int]:
    """Return (SEED, INDEX) of the name of a picture.

    Raises:
        ConfigError: The name is not SEED/INDEX.

    Example:
        >>> parse_name("0/3")
        (0, 3)
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", name)
    if not match:
        raise ConfigError(f"A sample is named SEED/INDEX, like 0/3; given {name!r}.")
    return int(match[1]), int(match[2])


def sampling_steps(model: DiffusionModel, config: SamplerConfig) -> list[tuple[int, int]]:
    """Return the (t, s) of every step, from the noisiest; the last s is -1, where ᾱ = 1.

    Raises:
        ConfigError: More steps than the model has timesteps.

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 4, 4), seed=0)
        >>> sampling_steps(model, SamplerConfig(steps=4))
        [(999, 749), (749, 499), (499, 249), (249, -1)]
    """
    if config.steps > model.timesteps:
        raise ConfigError(f"{config.steps} sampling steps were asked for; the model has {model.timesteps} timesteps.")
    given = model.scheduler.config
    scheduler = DDPMScheduler(
        num_train_timesteps=model.timesteps,
        timestep_spacing=given.get("timestep_spacing", "leading"),
        steps_offset=given.get("steps_offset", 0),
    )
    scheduler.set_timesteps(config.steps)
    t = [int(step) for step in scheduler.timesteps]
    if t[0] >= model.timesteps:
        raise ConfigError(
            f"{config.steps} sampling steps with steps_offset = {given['steps_offset']} start after the last of the "
            f"model's {model.timesteps} timesteps; ask for fewer."
        )
    return list(zip(t, [*t[1:], -1], strict=True))


def picture_noise(names: Sequence[tuple[int, int]], step: int, shape: Sequence[int]) -> Tensor:
    """Noise of the pictures (SEED, INDEX) at a step (0: the start), float32 [n, *shape]."""
    places = {name: k for k, name in enumerate(dict.fromkeys(names))}
    key = np.concatenate([keys("picture", seed, [str(index)]) for seed, index in places])
    return normals(key, np.full(len(places), step), shape)[[places[name] for name in names]]


def draw(
    predict: Predict,
    model: DiffusionModel,
    config: SamplerConfig,
    names: Sequence[tuple[int, int]],
    report: Report = silent,
    observe: Observe | None = None,
) -> Tensor:
    """Draw one picture for each name; names may repeat where `predict` treats the rows differently.

    Args:
        predict: The network or the mean of several, in canonical batches.
        model: Gives the schedule and the size of the pictures.
        config: Method, steps and clipping.
        names: (SEED, INDEX) of each picture, n of them.
        report: Called with (sampling steps done, steps in all).
        observe: Called at every step with the timestep and the predicted clean pictures.

    Returns:
        Pictures float32 [n, C, H, W] in [-1, 1].

    Raises:
        NotFiniteError: A picture is not finite.
    """
    steps = sampling_steps(model, config)
    place = device()
    x = picture_noise(names, 0, model.size).double().to(place)
    for k, (t, s) in enumerate(steps):
        output = predict(x.float(), torch.full((len(x),), t, device=place))
        if observe is not None:
            observe(t, clean_picture(model, config, x, output, t))
        noise = picture_noise(names, k + 1, model.size).double().to(place) if s >= 0 else None
        x = step(model, config, x, output, t, s, noise)
        report(k + 1, len(steps))
    bad = [name for name, picture in zip(names, x, strict=True) if not torch.isfinite(picture).all()]
    if bad:
        raise NotFiniteError(f"Picture {bad[0][0]}/{bad[0][1]} is not finite ({len(bad)} of {len(names)} pictures).")
    return x.clamp(-1, 1).float().cpu()


def step(
    model: DiffusionModel,
    config: SamplerConfig,
    x: Tensor,
    output: Tensor,
    t: int,
    s: int,
    noise: Tensor | None,
) -> Tensor:
    """One step from timestep t to s: x_s of x_t and the network output, float64 [n, C, H, W]."""
    alpha = model.alphas_cumprod
    a_t, a_s = alpha[t].item(), alpha[s].item() if s >= 0 else 1.0
    clean = clean_picture(model, config, x, output, t)
    residual = (x - a_t**0.5 * clean) / (1 - a_t) ** 0.5
    eta = 1.0 if config.method == "ddpm" else 0.0
    variance = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
    x = a_s**0.5 * clean + max(0.0, 1 - a_s - variance) ** 0.5 * residual
    return x if noise is None else x + variance**0.5 * noise


def clean_picture(model: DiffusionModel, config: SamplerConfig, x: Tensor, output: Tensor, t: int) -> Tensor:
    """x̂0: the clean picture that x_t and the network output imply, clipped if asked, float64 [n, C, H, W]."""
    clean = model.clean(output, x, torch.full((len(x),), t, device=x.device))
    return clean.clamp(-1, 1) if config.clip else clean
