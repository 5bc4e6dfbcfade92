"""The request of the training of a network on the latents of an autoencoder, opened and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler

from whence.config import Config, ModelConfig, SamplerConfig
from whence.data import Dataset
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.encoding import FOLDER, Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.families.latent_diffusion import find_autoencoder, write_pipeline
from whence.diffusion.families.unet import complete_config
from whence.diffusion.model import DiffusionModel
from whence.diffusion.shipped_base import base_folder
from whence.diffusion.variance_preserving import new_scheduler
from whence.errors import ConfigError, DataError, ModelError


@dataclass(frozen=True, eq=False)
class LatentRequest:
    """The training of a new network without conditions, on latents.

    Attributes:
        data: The training images.
        config: The settings.
        autoencoder: What makes latents of images.
        first: The first image as the network gets it.
    """

    data: Dataset
    config: Config
    autoencoder: Autoencoder
    first: Examples

    @classmethod
    def of(cls, data: Dataset, config: Config, autoencoder: str | Path) -> LatentRequest:
        """Return the request, checked.

        Raises:
            ConfigError: The settings are of an adapter, don't fit the latents, or sample latents of a VQ autoencoder.
            DataError: The images don't fit the autoencoder, or are no squares.
            ArtefactError, NotFiniteError: The autoencoder is missing or damaged.
            ModelError: LDMPipeline can't decode its latents.
        """
        if config.adapter is not None:
            raise ConfigError("There are settings of an adapter, but no base to train it on. Give one: --base BASE.")
        opened = Autoencoder(find_autoencoder(base_folder(autoencoder)))
        if opened.shift:
            raise ModelError(
                f"The autoencoder in {opened.folder} has a shift_factor, which LDMPipeline does not know. Give one "
                "without."
            )
        first = Encoders(opened).encode(data.select([0]), augmentation=Augmentation.of(config.training))
        channels, height, width = first.size
        if height != width:
            raise DataError(
                f"The images have {data.size[2]}x{data.size[1]} pixels, and LDMPipeline draws squares alone. Give "
                "--resolution."
            )
        config = complete_config(config, (channels, height, width))
        return cls(data, config.model_copy(update={"sampler": _complete_sampler(config.sampler)}), opened, first)

    base_folder = None

    @property
    def inputs(self) -> dict[str, Any]:
        """The fingerprint of the autoencoder."""
        return {"autoencoder": self.autoencoder.fingerprint}

    @property
    def made(self) -> dict[str, Any]:
        """The settings of model and training."""
        return {"model": self.config.model.record(), "training": self.config.training.record()}

    @property
    def copied(self) -> int:
        """The bytes of the autoencoder."""
        return self.autoencoder.bytes

    def model(self) -> DiffusionModel:
        """A new model of the seed."""
        channels, height, width = self.first.size
        settings = self.config.model
        model = DiffusionModel.new(settings, (channels, height, width), self.config.training.seed)
        model.network.requires_grad_(True)
        return replace(model, scheduler=_new_scheduler(settings), codec=self.autoencoder)

    def examples(self, folder: Path) -> Examples:
        """Latents, which are kept."""
        return Encoders(self.autoencoder).encode(self.data, folder / FOLDER, Augmentation.of(self.config.training))

    def stand_in(self) -> Examples:
        """The first image, as often as there are images."""
        return self.first.repeated(self.data.ids)

    def captions(self) -> None:
        """None: there are no conditions."""

    def save(self, model: DiffusionModel, folder: Path) -> None:
        """Write a folder that LDMPipeline opens, with a copy of the autoencoder."""
        write_pipeline(model.network, model.scheduler, self.autoencoder.folder, folder)

    def facts(self, folder: Path) -> dict[str, Any]:
        """None."""
        return {}


def _new_scheduler(config: ModelConfig) -> DDIMScheduler:
    """Return the scheduler of a new model, for which latents are not clipped."""
    betas = new_scheduler(config).betas.tolist() if config.schedule == "sigmoid" else None  # a schedule of DDPM alone
    return DDIMScheduler(
        num_train_timesteps=config.timesteps,
        beta_schedule="linear" if betas else config.schedule,
        trained_betas=betas,
        prediction_type=config.prediction,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def _complete_sampler(sampler: SamplerConfig) -> SamplerConfig:
    """Return how latents are drawn: never clipped, and by DDIM where the settings say nothing of drawing."""
    silent = sampler == SamplerConfig(steps=sampler.steps)
    return sampler.model_copy(update={"clip": False, **({"method": "ddim"} if silent else {})})
