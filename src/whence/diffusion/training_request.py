"""The request of a training run: what is trained on which images, with which settings, opened and checked."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from whence import artefacts
from whence.config import AdapterConfig, Config
from whence.data import Dataset
from whence.diffusion.adapters.adapter_file import write_adapter
from whence.diffusion.adapters.initial_weights import initial_weights
from whence.diffusion.adapters.layers import attach, low_rank_weights
from whence.diffusion.adapters.low_rank import AdapterWeights
from whence.diffusion.base import Base
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.checks import require_size
from whence.diffusion.denoiser import NO_CONDITIONS
from whence.diffusion.encoding import FOLDER
from whence.diffusion.examples import Examples, Repeated
from whence.diffusion.families.family import family_of_network
from whence.diffusion.families.unet import complete_config, complete_training
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.shipped_base import base_folder, base_name
from whence.errors import ConfigError, DataError

#: Peak learning rate and batch of adapters where none is given.
ADAPTER_RATE, ADAPTER_BATCH = 3e-4, 4


class TrainingRequest(Protocol):
    """What a run trains: a network or an adapter. Its settings have nothing left open."""

    @property
    def data(self) -> Dataset:
        """The training images."""

    @property
    def config(self) -> Config:
        """The settings."""

    @property
    def inputs(self) -> dict[str, Any]:
        """Fingerprints of what the run begins with, beside the images, for its manifest."""

    @property
    def made(self) -> dict[str, Any]:
        """The settings that the weights depend on, for the manifest."""

    def model(self) -> DiffusionModel:
        """The model at the beginning, which the run may change; the weights that are trained require a gradient."""

    def examples(self, folder: Path) -> Examples:
        """The images as the network gets them; an encoding of them is kept in the folder of the run."""

    def stand_in(self) -> Examples:
        """Examples of the same number and shapes, which cost nothing to make."""

    def captions(self) -> CaptionDropout | None:
        """The caption dropout, if there is any."""

    def save(self, model: DiffusionModel, folder: Path) -> None:
        """Write the model in its end, for diffusers."""

    def facts(self, folder: Path) -> dict[str, Any]:
        """Further facts for the manifest of the run in a folder."""


@dataclass(frozen=True, eq=False)
class NetworkRequest:
    """The training of a whole network, which is new or that of `start`; see `whence.diffusion.training.train`."""

    data: Dataset
    config: Config
    start: DiffusionModel | None = None
    conditions: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        data: Dataset,
        config: Config,
        start: DiffusionModel | None = None,
        conditions: Mapping[str, Tensor] = NO_CONDITIONS,
    ) -> NetworkRequest:
        """Return the request, checked."""
        if config.adapter is not None:
            raise ConfigError("There are settings of an adapter, but no base to train it on. Give one: --base BASE.")
        if conditions and start is None:
            raise DataError(
                f"New networks take no conditions; {', '.join(conditions)} need a network of yours as `start`."
            )
        for name, tensor in conditions.items():
            if len(tensor) != len(data):
                raise DataError(f"There are {len(data)} training examples, but {len(tensor)} rows of {name!r}.")
        if start is None:
            return cls(data, complete_config(config, data.size))
        family_of_network(start.network, "trained further")
        require_size(start, torch.from_numpy(data.pixels[:1]), "training images")
        training = complete_training(config.training, data.size)
        return cls(data, config.model_copy(update={"training": training}), start, conditions)

    @property
    def inputs(self) -> dict[str, Any]:
        """Fingerprints of conditions and start, where there are any."""
        inputs: dict[str, Any] = {}
        if self.conditions:
            inputs["conditions"] = artefacts.digest(artefacts.tensor_digests(self.conditions))
        if self.start is not None:
            inputs["start"] = fingerprint(self.start)
        return inputs

    @property
    def made(self) -> dict[str, Any]:
        """The settings of model and training."""
        model = self.config.model.record() if self.start is None else self.start.process.record()
        return {"model": model, "training": self.config.training.record()}

    def model(self) -> DiffusionModel:
        """A new model of the seed, or a copy of `start`."""
        if self.start is None:
            model = DiffusionModel.new(self.config.model, self.data.size, self.config.training.seed)
        else:
            model = copy.deepcopy(self.start)
        model.network.requires_grad_(True)
        return model

    def examples(self, folder: Path) -> Examples:
        """The pixels of the images."""
        return self.stand_in()

    def stand_in(self) -> Examples:
        """The pixels of the images."""
        return Examples(self.data.ids, artefacts.to_tensor(self.data.pixels), self.conditions)

    def captions(self) -> None:
        """None: conditions are never left out."""

    def save(self, model: DiffusionModel, folder: Path) -> None:
        """Write an ordinary diffusers folder."""
        model.save(folder)

    def facts(self, folder: Path) -> dict[str, Any]:
        """None."""
        return {}


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
        first: The first image as the network gets it.
    """

    data: Dataset
    config: Config
    adapter: AdapterConfig
    base: Base
    fingerprints: Mapping[str, str]
    process: Mapping[str, Any]
    first: Examples

    @classmethod
    def of(cls, data: Dataset, config: Config, base: str | Path) -> AdapterRequest:
        """Return the request, checked.

        Raises:
            ConfigError: The settings flip images, or name no layer.
            DataError: The images don't fit the base.
            ArtefactError, ModelError, NotFiniteError: The base is missing or damaged, or can't have an adapter.
        """
        config = _complete(config)
        adapter = config.adapter or AdapterConfig()
        if config.training.flip:
            raise ConfigError(
                "training.flip is for networks of pixels; the latents of images that are flipped are others. Add the "
                "flipped images to the data instead."
            )
        opened = Base(base_folder(base), adapter.resolution)
        first = opened.encoders.encode(data.select([0]))
        model = opened.open()
        require_size(model, first.values, "training images")
        initial_weights(model.network, adapter, config.training.seed)
        return cls(data, config, adapter, opened, opened.fingerprints(model), model.process.record(), first)

    @property
    def inputs(self) -> dict[str, Any]:
        """The fingerprints of the base."""
        return {"base": dict(self.fingerprints)}

    @property
    def made(self) -> dict[str, Any]:
        """The process of the base, and the settings of adapter and training."""
        settings = {"adapter": self.adapter.record(), "training": self.config.training.record()}
        return {"model": dict(self.process), **settings}

    def model(self) -> DiffusionModel:
        """The base with a new adapter of the seed; the weights of the base are frozen."""
        model = self.base.open()
        attach(model.network, [initial_weights(model.network, self.adapter, self.config.training.seed)])
        return model

    def examples(self, folder: Path) -> Examples:
        """Latents and embedded captions, which are kept."""
        return self.base.encoders.encode(self.data, folder / FOLDER)

    def stand_in(self) -> Examples:
        """The first image, as often as there are images."""
        rows = torch.zeros(len(self.data), dtype=torch.int64)
        conditions = {name: Repeated(condition[[0]], rows) for name, condition in self.first.conditions.items()}
        return Examples(self.data.ids, self.first.values.expand(len(rows), *self.first.values.shape[1:]), conditions)

    def captions(self) -> CaptionDropout | None:
        """The caption dropout of the settings."""
        return self.base.caption_dropout(self.adapter.caption_dropout, self.config.training.seed)

    def save(self, model: DiffusionModel, folder: Path) -> None:
        """Write the adapter as a file that ``load_lora_weights`` of a pipeline opens."""
        write_adapter(folder, AdapterWeights(low_rank_weights(model.network)))

    def facts(self, folder: Path) -> dict[str, Any]:
        """Where the base is, as it was given and as seen from the run."""
        given = self.base.folder
        return {"base": base_name(given), "base_from_run": os.path.relpath(given, folder)}


def _complete(config: Config) -> Config:
    """Return the settings of the training of an adapter with nothing left open."""
    adapter, training = config.adapter or AdapterConfig(), config.training
    rate, batch = training.learning_rate or ADAPTER_RATE, training.batch_size or ADAPTER_BATCH
    changed: dict[str, Any] = {
        "adapter": adapter.model_copy(update={"alpha": adapter.alpha or float(adapter.rank)}),
        "training": training.model_copy(update={"learning_rate": rate, "batch_size": batch}),
    }
    return config.model_copy(update=changed)
