"""Pictures that one model draws by itself, and the clean pictures that it predicts on the way to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from whence.config import SamplerConfig
from whence.diffusion.prediction import NO_CONDITIONS, predict
from whence.diffusion.process import DiffusionModel
from whence.diffusion.sampling import Observe, draw, parse_name
from whence.engine import Report, device, one_thread, silent


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance of a drawing (Ho & Salimans 2022, eq. 6): o_u + s (o_c - o_u).

    o_c is the network's output under the conditions of a picture, o_u its output under the conditions of no picture.

    Attributes:
        scale: s; 1 gives o_c, 0 gives o_u.
        conditions: The conditions of o_u by name, with a row for every picture.
    """

    scale: float
    conditions: Mapping[str, Tensor]


def draw_pictures(
    model: DiffusionModel,
    config: SamplerConfig,
    names: Sequence[str],
    report: Report = silent,
    observe: Observe | None = None,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
    guidance: Guidance | None = None,
) -> Tensor:
    """Draw the pictures SEED/INDEX by one model, with one thread; a picture doesn't depend on the others.

    The network is put where networks run and into evaluation mode, so dropout is off.

    Args:
        model: The model that draws.
        config: Method, steps, clipping and canonical batch.
        names: SEED/INDEX of each picture, n of them.
        report: Called with (sampling steps done, steps in all).
        observe: See `draw`.
        conditions: Further arguments of the network by name, n rows each.
        guidance: Classifier-free guidance; by default there is none.

    Returns:
        Pictures float32 [n, C, H, W] in [-1, 1].

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 4, 4), seed=0)
        >>> config = SamplerConfig(method="ddim", steps=2)
        >>> both = draw_pictures(model, config, ["0/0", "0/1"])
        >>> torch.equal(both[1:], draw_pictures(model, config, ["0/1"]))
        True
    """
    network = model.network.to(device()).eval()

    def output(x: Tensor, t: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        there = {name: tensor.to(x.device) for name, tensor in given.items()}
        return predict(network, x, t, config.batch_size, there).double()

    def guided(x: Tensor, t: Tensor) -> Tensor:
        if guidance is None:
            return output(x, t, conditions)
        unconditional = output(x, t, guidance.conditions)
        return unconditional + guidance.scale * (output(x, t, conditions) - unconditional)

    with one_thread():
        return draw(guided, model, config, [parse_name(name) for name in names], report, observe)


def predicted_clean(
    model: DiffusionModel,
    config: SamplerConfig,
    names: Sequence[str],
    report: Report = silent,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
    guidance: Guidance | None = None,
) -> tuple[list[int], Tensor]:
    """Make trajectories again from the noise of their names: x̂0 of every sampling step.

    x̂0 is the clean picture that the network's output at x_t implies, clipped if the sampler clips. The last one,
    clamped to [-1, 1], is the picture that `draw_pictures` returns. Journey-TRAK (Georgiev et al. 2023) explains
    the steps by these pictures; the study of D-TRAK (Zheng et al. 2024) averages over them.

    Args:
        model: The model that drew the pictures.
        config: How it drew them.
        names: SEED/INDEX of each picture, Q of them.
        report: Called with (sampling steps done, steps in all).
        conditions: As in `draw_pictures`.
        guidance: As in `draw_pictures`.

    Returns:
        The timestep t of each of the S steps, from the noisiest, and x̂0 float32 [S, Q, C, H, W].

    Example:
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 4, 4), seed=0)
        >>> timesteps, clean = predicted_clean(model, SamplerConfig(method="ddim", steps=2), ["0/0"])
        >>> timesteps, clean.shape
        ([999, 499], torch.Size([2, 1, 1, 4, 4]))
    """
    timesteps: list[int] = []
    pictures: list[Tensor] = []

    def observe(t: int, clean: Tensor) -> None:
        timesteps.append(t)
        pictures.append(clean.float().cpu())

    draw_pictures(model, config, names, report, observe, conditions, guidance)
    return timesteps, torch.stack(pictures)
