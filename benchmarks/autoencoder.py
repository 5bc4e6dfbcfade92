"""The training of small autoencoders: those of `styles` and of CIFAR-2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderKL

from whence.engine import Report

BATCH, LEARNING_RATE = 32, 8e-3
#: Pictures of a visit, float32 [n, C, H, W] in [-1, 1], by its number and a source of random numbers.
Visit = Callable[[int, np.random.Generator], torch.Tensor]


def make_model(channels: tuple[int, ...], latent: int, side: int) -> AutoencoderKL:
    """An autoencoder with a block for each entry of `channels`; each but the last halves height and width."""
    count = len(channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * count,
        up_block_types=("UpDecoderBlock2D",) * count,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=latent,
        norm_num_groups=8,
        sample_size=side,
        mid_block_add_attention=False,
    )


def train(
    model: AutoencoderKL, visit: Visit, steps: int, kl: float, report: Report, rate: float = LEARNING_RATE
) -> None:
    """Train on the pictures of each visit, in batches of a random order: |error| + error² + kl · KL divergence."""
    source = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.05)
    noise, step, number = torch.Generator().manual_seed(0), 0, 0
    while step < steps:
        pictures = visit(number, source)
        for batch in torch.from_numpy(source.permutation(len(pictures))).split(BATCH)[: steps - step]:
            if len(batch) < BATCH:
                continue
            x = pictures[batch]
            posterior = model.encode(x).latent_dist
            error = model.decode(posterior.sample(noise)).sample - x
            loss = error.abs().mean() + error.square().mean() + kl * posterior.kl().mean() / posterior.mean[0].numel()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            step += 1
            report(step, steps)
        number += 1


@torch.inference_mode()
def deviation(model: AutoencoderKL, pictures: torch.Tensor) -> float:
    """The standard deviation of the latents."""
    posterior = model.encode(pictures).latent_dist
    return float(posterior.sample(torch.Generator().manual_seed(0)).std())


def psnr(error: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1], of all pixels together."""
    return float(10 * torch.log10(4 / error.square().mean()))


@torch.inference_mode()
def show(model: AutoencoderKL, name: str, pictures: torch.Tensor) -> tuple[float, float]:
    """Print the PSNR of all pictures together, by the mean of their latents, and with noise on it.

    The noise has a tenth of the standard deviation of the latents.

    Returns:
        The two figures in dB.
    """
    latents = model.encode(pictures).latent_dist.mean
    drawn = model.decode(latents).sample.clamp(-1, 1)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)) / model.config.scaling_factor
    noisy = model.decode(latents + 0.1 * noise).sample.clamp(-1, 1)
    plain, with_noise = psnr(drawn - pictures), psnr(noisy - pictures)
    print(f"{name:25} {plain:.2f} dB, noisy {with_noise:.2f} dB")
    return plain, with_noise
