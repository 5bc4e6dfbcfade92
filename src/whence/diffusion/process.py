"""The process being explained: a denoising network and its noise schedule as one object.

With ᾱ_t the schedule's cumulative product, x a clean image in [-1, 1] and ε standard normal noise:

    x_t = √ᾱ_t x + √(1 - ᾱ_t) ε                      (Ho et al. 2020, eq. 4)
    target: ε,  x,  or  v = √ᾱ_t ε - √(1 - ᾱ_t) x    (Salimans & Ho 2022, appendix D)
    loss:   ℓ = mean over elements of (network(x_t, t) - target)², one number per example
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from whence.config import ModelConfig
from whence.diffusion.denoiser import denoise
from whence.diffusion.folder import read_network, read_scheduler
from whence.diffusion.schedule import require_schedule
from whence.diffusion.sizes import suit_model
from whence.errors import ModelError

NETWORK_FILE = "unet/diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class DiffusionModel:
    """A denoiser with its schedule.

    Attributes:
        network: Predicts the target from (x_t, t) and perhaps conditions, as a `Denoiser`.
        scheduler: A diffusers scheduler of any class that has ᾱ; of it only ᾱ and the configuration are used.
        shape: Shape of an example without its batch dimension; None to take it from ``network.config``.

    Raises:
        ModelError: The scheduler is of another process.

    Example:
        >>> from diffusers import DDIMScheduler
        >>> network = UNet2DModel(8, 1, 1, block_out_channels=(8,) * 4, norm_num_groups=8)
        >>> model = DiffusionModel(network, DDIMScheduler())
        >>> model.size, model.timesteps, model.prediction
        ((1, 8, 8), 1000, 'epsilon')
    """

    network: nn.Module
    scheduler: Any
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        require_schedule(self.scheduler)

    @classmethod
    def new(cls, config: ModelConfig, size: tuple[int, int, int], seed: int) -> DiffusionModel:
        """Return an untrained model for images of `size` (C, H, W); the weights depend on `seed` only.

        Raises:
            ConfigError: The levels don't fit the image.

        Example:
            >>> model = DiffusionModel.new(ModelConfig(channels=(8, 16)), (1, 8, 8), seed=0)
            >>> model.size
            (1, 8, 8)
        """
        suited = suit_model(config, size)
        channels, attention = suited.channels or (), suited.attention or 0
        attends = [max(size[1:]) >> level <= attention for level in range(len(channels))]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = UNet2DModel(
                sample_size=size[1] if size[1] == size[2] else size[1:],
                in_channels=size[0],
                out_channels=size[0],
                layers_per_block=config.layers,
                block_out_channels=channels,
                down_block_types=["AttnDownBlock2D" if here else "DownBlock2D" for here in attends],
                up_block_types=["AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)],
                add_attention=attends[-1],
                norm_num_groups=config.groups,
                dropout=config.dropout,
                attention_head_dim=min(32, *channels),
            )
        scheduler = DDPMScheduler(
            num_train_timesteps=config.timesteps,
            beta_schedule=config.schedule,
            prediction_type=config.prediction,
            timestep_spacing="trailing",
        )
        return cls(network.eval(), scheduler)

    @classmethod
    def load(cls, folder: Path, shape: tuple[int, ...] | None = None) -> DiffusionModel:
        """Return the model in a diffusers folder with a ``UNet2DModel``, whatever its pipeline and scheduler.

        Args:
            folder: What ``save_pretrained`` of a pipeline wrote, or of a network and its scheduler into one folder.
            shape: Shape of an example, if the network's configuration leaves it open.

        Raises:
            ArtefactError: The folder is not one, or its weights are missing, damaged or pickled.
            ModelError: The network or the scheduler is of a kind that is not supported; the message says the way out.
            NotFiniteError: A weight is NaN or infinite.
        """
        model = cls(read_network(folder), read_scheduler(folder), shape)
        model.size  # noqa: B018
        return model

    def save(self, folder: Path) -> None:
        """Write an ordinary diffusers folder, which ``DDPMPipeline.from_pretrained`` opens.

        Raises:
            ModelError: The network is no ``UNet2DModel``.
        """
        if not isinstance(self.network, UNet2DModel):
            raise ModelError(
                f"A {type(self.network).__name__} can't be saved as a diffusers folder; a UNet2DModel can. "
                "Save its weights yourself."
            )
        DDPMPipeline(unet=self.network, scheduler=self.scheduler).save_pretrained(folder)

    @cached_property
    def size(self) -> tuple[int, ...]:
        """Shape of an example, (C, H, W) of images: `shape`, else that in the network's configuration.

        Raises:
            ModelError: Neither says it.
        """
        if self.shape is not None:
            return tuple(self.shape)
        config = getattr(self.network, "config", None)
        side, channels = getattr(config, "sample_size", None), getattr(config, "in_channels", None)
        if side is None or channels is None:
            raise ModelError(
                f"The shape of an example isn't known: the {type(self.network).__name__} has no config with "
                "in_channels and sample_size. Give it: DiffusionModel(network, scheduler, shape=(C, H, W))."
            )
        height, width = (side, side) if isinstance(side, int) else side
        return channels, height, width

    @property
    def place(self) -> torch.device:
        """The device of the network's weights."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    @property
    def timesteps(self) -> int:
        """Number T of timesteps."""
        return int(self.scheduler.config.num_train_timesteps)

    @property
    def prediction(self) -> str:
        """What the network predicts: ``epsilon``, ``v_prediction`` or ``sample``."""
        return str(self.scheduler.config.prediction_type)

    @property
    def alphas_cumprod(self) -> Tensor:
        """ᾱ of every timestep, float64 [T]."""
        alphas: Tensor = self.scheduler.alphas_cumprod
        return alphas.double()

    def _signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1-ᾱ_t), shaped to multiply `like` [n, C, H, W]."""
        alpha = self.alphas_cumprod.to(like.device)[t].reshape(-1, *[1] * (like.dim() - 1))
        return alpha.sqrt().to(like.dtype), (1 - alpha).sqrt().to(like.dtype)

    def noised(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t of clean examples x [n, C, H, W], timesteps [n] and noise [n, C, H, W]."""
        a, s = self._signal_and_noise(t, x)
        return a * x + s * noise

    def target(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """What the network should output for (x, t, noise), [n, C, H, W]."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x
        a, s = self._signal_and_noise(t, x)
        return a * noise - s * x

    def clean(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean image that an output [n, C, H, W] at x_t implies."""
        if self.prediction == "sample":
            return output
        a, s = self._signal_and_noise(t, x_t)
        return (x_t - s * output) / a if self.prediction == "epsilon" else a * x_t - s * output

    def output(self, x_t: Tensor, t: Tensor, **conditions: Tensor) -> Tensor:
        """What the network returns for x_t at timesteps [n], of the shape of x_t."""
        return denoise(self.network, x_t, t, **conditions)

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, **conditions: Tensor) -> Tensor:
        """ℓ of each example, [n]: mean squared error over the elements."""
        output = self.output(self.noised(x, t, noise), t, **conditions).float()
        return (output - self.target(x, t, noise)).square().flatten(1).mean(1)
