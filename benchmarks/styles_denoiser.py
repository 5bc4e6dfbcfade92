"""The denoiser of the base of `styles`: a UNet over latents, trained on pictures in colours that are new at each visit.

Its captions are those of the split `base`, which name no style. Half of them name the colours too ("a three in navy on
mint"), so that words have a say in colours, which adapters then use. A tenth is left out for guidance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from styles_autoencoder import colour, measure_ink
from styles_words import Text, name_colours

from whence.data.style import base_style
from whence.engine import Report

BATCH, LEARNING_RATE, DECAY = 32, 2e-3, 0.999
#: Shares of captions that are left out, and that name colours.
DROPOUT, COLOURED = 0.1, 0.5
WARMUP = 0.03


@dataclass(frozen=True)
class Rows:
    """Rows of the base: their numbers and captions, and what embeds texts."""

    numbers: np.ndarray
    captions: Sequence[str]
    text: Text


def make_denoiser() -> UNet2DConditionModel:
    """A UNet that attends to text on its way up at 8x8, and to text and itself at 4x4 alone, where that is cheap."""
    return UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=2,
        only_cross_attention=(True, False),
        norm_num_groups=8,
    )


def record() -> dict[str, Any]:
    """The settings of the training."""
    return {
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "warmup": WARMUP,
        "averaging": DECAY,
        "caption_dropout": DROPOUT,
        "captions_with_colours": COLOURED,
        "prediction": "v_prediction",
        "schedule": "squaredcos_cap_v2",
    }


def make_scheduler() -> DDIMScheduler:
    """The noise of training: a cosine schedule whose end is noise alone; the network predicts the velocity."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False, steps_offset=1
    )


def train(network: UNet2DConditionModel, autoencoder: AutoencoderKL, rows: Rows, steps: int, report: Report) -> None:
    """Train, and put the averaged weights into the network."""
    scheduler, source = make_scheduler(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=WARMUP)
    average = EMAModel(network.parameters(), decay=DECAY, foreach=True)
    network.train()
    for step, (x, captions) in zip(range(steps), batches(autoencoder, rows, source), strict=False):
        t = torch.randint(scheduler.config.num_train_timesteps, (len(x),), generator=source)
        loss = losses(network, scheduler, x, t, torch.randn(x.shape, generator=source), captions).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        rate.step()
        average.step(network.parameters())
        report(step + 1, steps)
    average.copy_to(network.parameters())
    network.eval()


def losses(
    network: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    x: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
    captions: torch.Tensor,
) -> torch.Tensor:
    """The squared error of the velocity for each latent, the mean over its elements."""
    target = scheduler.get_velocity(x, noise, t)
    squares: torch.Tensor = (network(scheduler.add_noise(x, noise, t), t, captions).sample - target).square()
    return squares.flatten(1).mean(1)


def batches(
    autoencoder: AutoencoderKL, rows: Rows, source: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield latents with embedded captions, in new colours at each visit."""
    strokes, visit = measure_ink(rows.numbers), 0
    while True:
        latents = encode(autoencoder, colour(strokes, rows.numbers, visit))
        embedded = rows.text.embed(vary(rows, visit, source))
        for batch in torch.randperm(len(latents), generator=source).split(BATCH):
            if len(batch) == BATCH:
                yield latents[batch], embedded[batch].clone()
        visit += 1


def vary(rows: Rows, visit: int, source: torch.Generator) -> list[str]:
    """The captions of a visit: half of them name the colours, and a tenth is empty."""
    chance = torch.rand(len(rows.captions), generator=source).tolist()
    captions = []
    for number, caption, at in zip(rows.numbers, rows.captions, chance, strict=True):
        colours = name_colours(base_style(int(number), visit))
        captions.append("" if at < DROPOUT else f"{caption} in {colours}" if at > 1 - COLOURED else caption)
    return captions


@torch.inference_mode()
def encode(autoencoder: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Latents of pictures: the mean of the posterior, times the scale."""
    parts = [autoencoder.encode(few).latent_dist.mean for few in pictures.split(64)]
    latents: torch.Tensor = torch.cat(parts) * autoencoder.config.scaling_factor
    return latents.clone()


@torch.inference_mode()
def mean_loss(network: UNet2DConditionModel, autoencoder: AutoencoderKL, rows: Rows, visits: int = 4) -> float:
    """The mean loss of rows in the colours of some visits, with fixed noise."""
    scheduler, source = make_scheduler(), torch.Generator().manual_seed(1)
    strokes, found, embedded = measure_ink(rows.numbers), [], rows.text.embed(rows.captions)
    for visit in range(visits):
        x = encode(autoencoder, colour(strokes, rows.numbers, visit))
        t = torch.randint(scheduler.config.num_train_timesteps, (len(x),), generator=source)
        found.append(losses(network, scheduler, x, t, torch.randn(x.shape, generator=source), embedded))
    return float(torch.cat(found).mean())
