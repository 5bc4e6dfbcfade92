"""The request of a training run: what is trained on which images, with which settings, opened and checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from whence import artefacts
from whence.config import Config
from whence.data import Dataset
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.caption_dropout import CaptionDropout
from whence.diffusion.checks import refuse_adapter, refuse_caption_dropout, require_size
from whence.diffusion.codec import Pixels
from whence.diffusion.denoiser import NO_CONDITIONS
from whence.diffusion.examples import Examples
from whence.diffusion.families.family import family_of_network
from whence.diffusion.families.unet import complete_config, complete_training
from whence.diffusion.model import DiffusionModel, fingerprint, process_of
from whence.diffusion.noise_schedule import new_scheduler
from whence.errors import ConfigError, DataError, ModelError
from whence.process_config import OPEN


class TrainingRequest(Protocol):
    """What a run trains: a network of pixels or latents, or an adapter. Its settings have nothing left open."""

    @property
    def data(self) -> Dataset:
        """The training images."""

    @property
    def config(self) -> Config:
        """The settings."""

    @property
    def base_folder(self) -> Path | None:
        """The folder of the base of an adapter; None for a network."""

    @property
    def inputs(self) -> dict[str, Any]:
        """Fingerprints of what the run begins with, beside the images, for its manifest."""

    @property
    def made(self) -> dict[str, Any]:
        """The settings that the weights depend on, for the manifest."""

    @property
    def copied(self) -> int:
        """Bytes of files that are copied into the run."""

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
        require_one_shape(data, "A network that is trained as a whole")
        refuse_adapter(config)
        refuse_caption_dropout(config.training)
        if config.training.latents == "sample":
            raise ConfigError(
                "training.latents = sample is for adapters and networks of latents; this network denoises the pictures "
                "themselves. Leave it out."
            )
        if conditions and start is None:
            raise DataError(
                f"New networks take no conditions; {', '.join(conditions)} need a network of yours as `start`."
            )
        for name, tensor in conditions.items():
            if len(tensor) != len(data):
                raise DataError(f"There are {len(data)} training examples, but {len(tensor)} rows of {name!r}.")
        if start is None:
            request = cls(data, complete_config(config, data.size))
            request.made  # noqa: B018  # the settings fit the process
            return request
        if config.process not in (None, start.settings):
            raise ConfigError("The process is that of `start`. Leave the settings of the process out.")
        family_of_network(start.network, "trained further")
        if start.text is not None and not conditions:
            conditions = start.text.conditions([caption or "" for caption in data.captions])
        if not isinstance(start.codec, Pixels):
            raise ModelError("A network of latents is not trained further. Train a new one.")
        require_size(start, torch.empty(0, *data.size), "training images")
        training = complete_training(config.training, data.size)
        return cls(data, config.model_copy(update={"training": training}), start, conditions)

    base_folder, copied = None, 0

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
        """The settings of model, process and training."""
        if self.start is not None:
            model, settings = self.start.process.record(), self.start.settings
        else:
            model, settings = self.config.model.record(), self.config.process or OPEN
            if settings != OPEN or self.config.model.is_flow:
                model |= process_of(new_scheduler(self.config.model, settings), settings).record()
        process = {} if settings == OPEN else {"process": settings.record()}
        return {"model": model, **process, "training": self.config.training.record()}

    def model(self) -> DiffusionModel:
        """A new model of the seed, or a copy of `start`."""
        if self.start is None:
            settings, seed = self.config.process or OPEN, self.config.training.seed
            model = DiffusionModel.new(self.config.model, self.data.size, seed, settings=settings)
        else:
            model = copy.deepcopy(self.start)
        model.network.requires_grad_(True)
        return model

    def examples(self, folder: Path) -> Examples:
        """The pixels of the images."""
        return self.stand_in()

    def stand_in(self) -> Examples:
        """The pixels of the images."""
        return Examples(self.data.ids, self.data.tensor, self.conditions)

    def captions(self) -> None:
        """None: conditions are never left out."""

    def save(self, model: DiffusionModel, folder: Path) -> None:
        """Write an ordinary diffusers folder."""
        model.save(folder)

    def facts(self, folder: Path) -> dict[str, Any]:
        """None."""
        return {}
