"""The process being explained: a denoising network and its noise schedule as one object.

With ᾱ_t the schedule's cumulative product, x a clean image in [-1, 1] and ε standard normal noise:

    x_t = √ᾱ_t x + √(1 - ᾱ_t) ε                      (Ho et al. 2020, eq. 4)
    target: ε,  x,  or  v = √ᾱ_t ε - √(1 - ᾱ_t) x    (Salimans & Ho 2022, appendix D)
    loss:   ℓ = mean over elements of (network(x_t, t) - target)², one number per example
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor

from whence.artefacts import read_json
from whence.config import ModelConfig
from whence.diffusion.sizes import suit_model
from whence.errors import ArtefactError

NETWORK_FILE = "unet/diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class DiffusionModel:
    """A denoiser with its schedule.

    Attributes:
        network: Predicts the target from (x_t, t).
        scheduler: The diffusers scheduler; here only its configuration and ᾱ are used.
    """

    network: UNet2DModel
    scheduler: DDPMScheduler

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
    def load(cls, folder: Path) -> DiffusionModel:
        """Return the model in a diffusers folder with a ``UNet2DModel``.

        Raises:
            ArtefactError: The folder is not one, or its weights are missing, damaged or pickled.
        """
        index = read_json(folder / "model_index.json")
        if index.get("unet", [None, None])[1] != "UNet2DModel":
            raise ArtefactError(f"{folder} has no UNet2DModel; its model_index.json says {index.get('unet')}.")
        if not (folder / NETWORK_FILE).exists():
            raise ArtefactError(
                f"{folder / NETWORK_FILE} is missing. Weights in .bin files are pickled and not read: load them "
                "with diffusers once and save them with save_pretrained(..., safe_serialization=True)."
            )
        try:
            network = UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True)
            scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
        except Exception as error:
            raise ArtefactError(f"{folder} can't be opened by diffusers: {error}") from error
        return cls(network.eval(), scheduler)

    def save(self, folder: Path) -> None:
        """Write an ordinary diffusers folder, which ``DDPMPipeline.from_pretrained`` opens."""
        DDPMPipeline(unet=self.network, scheduler=self.scheduler).save_pretrained(folder)

    @property
    def size(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        side = self.network.config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        return self.network.config.in_channels, height, width

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
        """x_t of clean images x [n, C, H, W], timesteps [n] and noise [n, C, H, W]."""
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

    def loss(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """ℓ of each example, [n]: mean squared error over the elements."""
        output: Tensor = self.network(self.noised(x, t, noise), t).sample.float()
        return (output - self.target(x, t, noise)).square().flatten(1).mean(1)
