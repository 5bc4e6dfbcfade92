"""The request of the training of a network on the latents of an autoencoder, opened and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler

from whence.config import Config, ModelConfig, SamplerConfig
from whence.data import Dataset
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.checks import refuse_adapter, refuse_caption_dropout
from whence.diffusion.conditioner import TEXT, TextConditioner
from whence.diffusion.encoding import FOLDER, Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.families.latent_diffusion import PIPELINE as LATENT_PIPELINE
from whence.diffusion.families.latent_diffusion import find_autoencoder
from whence.diffusion.families.pipeline_folder import write_pipeline
from whence.diffusion.families.stable_diffusion import PIPELINE as TEXT_PIPELINE
from whence.diffusion.families.stable_diffusion import text_of
from whence.diffusion.families.unet import complete_config
from whence.diffusion.model import DiffusionModel
from whence.diffusion.noise_schedule import new_scheduler
from whence.diffusion.shipped_base import base_folder
from whence.errors import ConfigError, DataError, ModelError

#: Arguments of `train` that name the folders of encoders, and what their fingerprints are called in manifests.
ENCODERS = ("autoencoder", "text_encoder")


@dataclass(frozen=True, eq=False)
class LatentRequest:
    """The training of a new network on latents, without conditions or with captions.

    Attributes:
        data: The training images.
        config: The settings.
        autoencoder: What makes latents of images.
        text: What embeds captions; None for a network without text.
        first: The first image as the network gets it.
        encoded: The images as the network gets them, where they were encoded before; None: `examples` encodes them.
    """

    data: Dataset
    config: Config
    autoencoder: Autoencoder
    text: TextConditioner | None
    first: Examples
    encoded: Examples | None = None

    @classmethod
    def of(
        cls,
        data: Dataset,
        config: Config,
        autoencoder: str | Path,
        text_encoder: str | Path | None = None,
        encoding: Path | None = None,
    ) -> LatentRequest:
        """Return the request, checked.

        Raises:
            ConfigError: The settings are of an adapter, don't fit the latents, sample latents of a VQ autoencoder, or
                drop captions where there is no text encoder.
            DataError: The images don't fit the autoencoder, have several shapes, or are no squares and there is no text
                encoder.
            ArtefactError, NotFiniteError: The autoencoder or the text encoder is missing or damaged.
            ModelError: The pipeline can't decode the latents of the autoencoder.
        """
        require_one_shape(data, "A network that is trained as a whole")
        refuse_adapter(config)
        if config.process is not None or config.model.is_flow:
            raise ConfigError(
                "A network of latents is trained without settings of the process, and not as a flow: its pipeline "
                "draws by neither. Leave the section process out, and model.prediction = flow_prediction."
            )
        opened = Autoencoder(find_autoencoder(base_folder(autoencoder)))
        text = None if text_encoder is None else text_of(base_folder(text_encoder))
        _require_decodable(opened, LATENT_PIPELINE if text is None else TEXT_PIPELINE)
        if text is None:
            refuse_caption_dropout(config.training)
        encoders, augmentation = Encoders(opened, text), Augmentation.of(config.training)
        encoded = None if encoding is None else encoders.read(data, encoding, augmentation)
        first = encoders.encode(data.select([0]), augmentation=augmentation) if encoded is None else encoded.head(1)
        channels, height, width = first.size
        if height != width and text is None:
            raise DataError(
                f"The images have {data.size[2]}x{data.size[1]} pixels, and {LATENT_PIPELINE} draws squares alone. "
                "Give --resolution."
            )
        config = complete_config(config, (channels, height, width), text=text is not None)
        config = config.model_copy(update={"sampler": _complete_sampler(config.sampler)})
        return cls(data, config, opened, text, first, encoded)

    base_folder = None

    @property
    def encoders(self) -> Encoders:
        """Autoencoder and text encoder."""
        return Encoders(self.autoencoder, self.text)

    @property
    def inputs(self) -> dict[str, Any]:
        """The fingerprints of autoencoder and text encoder."""
        text = {} if self.text is None else {"text_encoder": self.text.fingerprint}
        return {"autoencoder": self.autoencoder.fingerprint, **text}

    @property
    def made(self) -> dict[str, Any]:
        """The settings of model and training."""
        return {"model": self.config.model.record(), "training": self.config.training.record()}

    @property
    def copied(self) -> int:
        """The bytes of autoencoder and text encoder."""
        return self.autoencoder.bytes + (0 if self.text is None else self.text.bytes)

    def model(self) -> DiffusionModel:
        """A new model of the seed."""
        settings, seed = self.config.model, self.config.training.seed
        features = None if self.text is None else self.first.conditions[TEXT][[0]].shape[-1]
        channels, height, width = self.first.size
        model = DiffusionModel.new(settings, (channels, height, width), seed, features)
        model.network.requires_grad_(True)
        return replace(model, scheduler=_new_scheduler(settings), codec=self.autoencoder, text=self.text)

    def examples(self, folder: Path) -> Examples:
        """Latents and embedded captions; those that were not encoded before are kept in the folder."""
        if self.encoded is not None:
            return self.encoded
        return self.encoders.encode(self.data, folder / FOLDER, Augmentation.of(self.config.training))

    def stand_in(self) -> Examples:
        """The first image, as often as there are images."""
        return self.first.repeated(self.data.ids)

    def captions(self) -> CaptionDropout | None:
        """The caption dropout of the settings."""
        return CaptionDropout.of(self.config.training, self.encoders)

    def save(self, model: DiffusionModel, folder: Path) -> None:
        """Write a folder that LDMPipeline or StableDiffusionPipeline opens, with copies of the encoders."""
        pipeline, name = (LATENT_PIPELINE, "vqvae") if self.text is None else (TEXT_PIPELINE, "vae")
        own = (name, self.autoencoder.folder)
        write_pipeline(folder, pipeline, model.network, model.scheduler, own, self.text)

    def facts(self, folder: Path) -> dict[str, Any]:
        """None."""
        return {}


def _require_decodable(autoencoder: Autoencoder, pipeline: str) -> None:
    """Check that a pipeline can decode the latents of an autoencoder."""
    if pipeline == TEXT_PIPELINE and autoencoder.kind != "AutoencoderKL":
        raise ModelError(
            f"The autoencoder in {autoencoder.folder} is a {autoencoder.kind}; {pipeline} needs an AutoencoderKL."
        )
    if autoencoder.shift:
        raise ModelError(
            f"The autoencoder in {autoencoder.folder} has a shift_factor, which {pipeline} does not know. Give one "
            "without."
        )


def _new_scheduler(config: ModelConfig) -> DDIMScheduler:
    """Return the scheduler of a new model, for which latents are not clipped."""
    betas = new_scheduler(config).betas.tolist() if config.schedule == "sigmoid" else None  # a schedule of DDPM alone
    return DDIMScheduler(
        num_train_timesteps=config.timesteps,
        beta_schedule="linear" if betas else config.schedule,
        trained_betas=betas,
        prediction_type=config.prediction,
        timestep_spacing="trailing",
        steps_offset=1,  # not used by this spacing; StableDiffusionPipeline warns of 0
        clip_sample=False,
    )


def _complete_sampler(sampler: SamplerConfig) -> SamplerConfig:
    """Return how latents are drawn: never clipped, and by DDIM where the settings say nothing of drawing."""
    silent = sampler == SamplerConfig(steps=sampler.steps)
    return sampler.model_copy(update={"clip": False, **({"method": "ddim"} if silent else {})})
