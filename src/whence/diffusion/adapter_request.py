"""The request of the training of an adapter: on which base and images, with which settings, opened and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whence.config import AdapterConfig, Config, SamplerConfig
from whence.data import Dataset
from whence.diffusion.adapters.adapter_file import write_adapter
from whence.diffusion.adapters.initial_weights import initial_weights, network_part
from whence.diffusion.adapters.layers import attach, low_rank_weights
from whence.diffusion.adapters.low_rank import AdapterWeights
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.base import Base
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.checks import require_shapes
from whence.diffusion.encoding import FOLDER
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import default_sampler
from whence.diffusion.shipped_base import base_folder, base_name
from whence.errors import ConfigError

#: Peak learning rate and batch of adapters where none is given.
ADAPTER_RATE, ADAPTER_BATCH = 3e-4, 4


@dataclass(frozen=True, eq=False)
class AdapterRequest:
    """The training of an adapter on a base.

    Attributes:
        data: The training images.
        config: The settings.
        adapter: Those of the adapter.
        base: The base.
        fingerprints: Its fingerprints.
        process: Its process, for the manifest.
        first: The first image of each shape as the network gets it.
        encoded: All images as the network gets them, where they are encoded already.
    """

    data: Dataset
    config: Config
    adapter: AdapterConfig
    base: Base
    fingerprints: Mapping[str, str]
    process: Mapping[str, Any]
    first: Examples
    encoded: Examples | None = None

    @classmethod
    def of(cls, data: Dataset, config: Config, base: str | Path, encoding: Path | None = None) -> AdapterRequest:
        """Return the request, checked.

        Raises:
            ConfigError: The settings name no layer, sample latents without a Gaussian posterior, or share noise among
                images of several shapes.
            DataError: The images don't fit the base.
            ArtefactError, ModelError, NotFiniteError: The base is missing or damaged, or can't have an adapter.
        """
        config = _complete(config)
        adapter = config.adapter or AdapterConfig()
        opened = Base.of(base_folder(base), config)
        augmentation = Augmentation.of(config.training)
        encoded = None if encoding is None else opened.encoders.read(data, encoding, augmentation)
        one_each = sorted({size: n for n, size in reversed(list(enumerate(data.sizes)))}.values())
        if len(one_each) > 1 and config.training.shared_noise:
            raise ConfigError("training.shared_noise is for images of one shape. Leave it out, or give --resolution.")
        if encoded is None:
            first = opened.encoders.encode(data.select(one_each), augmentation=augmentation)
        else:
            first = encoded.select(one_each)
        model = opened.open()
        require_shapes(model, first, "training images")
        initial_weights(model.network, adapter, config.training.seed)
        config = config.model_copy(update={"sampler": _complete_sampler(config.sampler, model)})
        return cls(data, config, adapter, opened, opened.fingerprints(model), model.process.record(), first, encoded)

    @property
    def base_folder(self) -> Path:
        """The folder of the base."""
        return self.base.folder

    copied = 0

    @property
    def inputs(self) -> dict[str, Any]:
        """The fingerprints of the base, and of what images were cut from where the base is told that."""
        return {"base": dict(self.fingerprints), **self.base.encoders.framings(self.data)}

    @property
    def made(self) -> dict[str, Any]:
        """The process of the base, and the settings of adapter and training."""
        settings = {"adapter": self.adapter.record(), "training": self.config.training.record()}
        settings |= {} if self.config.process is None else {"process": self.config.process.record()}
        return {"model": dict(self.process), **settings}

    def model(self) -> DiffusionModel:
        """The base with a new adapter of the seed; the weights of the base are frozen."""
        model = self.base.open()
        attach(model.network, [initial_weights(model.network, self.adapter, self.config.training.seed)])
        for name, parameter in model.network.named_parameters():
            if self.adapter.freeze_a and ".lora_A." in name:
                parameter.requires_grad_(False)
        return model

    def examples(self, folder: Path) -> Examples:
        """Latents and embedded captions, which are kept."""
        if self.encoded is not None:
            return self.encoded
        return self.base.encoders.encode(self.data, folder / FOLDER, Augmentation.of(self.config.training))

    def stand_in(self) -> Examples:
        """The first image, as often as there are images."""
        return self.first.repeated(self.data.ids)

    def captions(self) -> CaptionDropout | None:
        """The caption dropout of the settings."""
        return CaptionDropout.of(self.config.training, self.base.encoders)

    def save(self, model: DiffusionModel, folder: Path) -> None:
        """Write the adapter as a file that ``load_lora_weights`` of a pipeline opens."""
        layers = low_rank_weights(model.network)
        write_adapter(folder, AdapterWeights(layers, network_part=network_part(model.network)))

    def facts(self, folder: Path) -> dict[str, Any]:
        """Where the base is, as it was given and as seen from the run."""
        given = self.base.folder
        return {"base": base_name(given), "base_from_run": os.path.relpath(given, folder)}


def _complete_sampler(sampler: SamplerConfig, model: DiffusionModel) -> SamplerConfig:
    """Return how pictures are drawn: where the settings say nothing, as the base draws."""
    usual = default_sampler(model)
    open_ = {name: getattr(usual, name) for name in SamplerConfig.model_fields if name not in sampler.said}
    return sampler.model_copy(update=open_)


def _complete(config: Config) -> Config:
    """Return the settings of the training of an adapter with nothing left open."""
    adapter, training = config.adapter or AdapterConfig(), config.training
    rate, batch = training.learning_rate or ADAPTER_RATE, training.batch_size or ADAPTER_BATCH
    changed: dict[str, Any] = {
        "adapter": adapter.model_copy(update={"alpha": adapter.alpha or float(adapter.rank)}),
        "training": training.model_copy(update={"learning_rate": rate, "batch_size": batch}),
    }
    return config.model_copy(update=changed)
