"""The model that is explained: a denoising network, the process that it was trained on, and its codec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whence import artefacts
from whence.config import ModelConfig
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.adapter_file import read_adapter
from whence.diffusion.adapters.layers import attach
from whence.diffusion.adapters.low_rank import AdapterWeights
from whence.diffusion.class_names import ID_TO_LABEL, ClassNames
from whence.diffusion.codec import Codec, Pixels
from whence.diffusion.conditioner import Conditioner, TextConditioner
from whence.diffusion.denoiser import denoise, plain_network
from whence.diffusion.families.family import family_of_folder, family_of_network, flow_of_network, set_guidance
from whence.diffusion.families.network_call import same_call
from whence.diffusion.families.stable_diffusion import new_text_network
from whence.diffusion.families.unet import complete_model, new_network
from whence.diffusion.flow_matching import FlowMatching
from whence.diffusion.flow_pipeline import FlowPipeline
from whence.diffusion.folders import read_mapping
from whence.diffusion.noise_schedule import new_scheduler
from whence.diffusion.process import Process
from whence.diffusion.variance_preserving import VariancePreserving
from whence.errors import ModelError
from whence.process_config import OPEN, ProcessConfig


@dataclass(frozen=True)
class DiffusionModel:
    """A denoiser with its process.

    Attributes:
        network: Predicts the target from (x_t, t) and perhaps conditions, as a `Denoiser`; see `plain_network`.
        scheduler: A scheduler of diffusers, from which the process is taken.
        shape: Shape of an example without its batch dimension; None to take it from ``network.config``.
        codec: Between pictures and examples.
        text: From prompts, or class names, to the conditions of the network; None for networks without.
        settings: What the scheduler does not say of the process.

    Raises:
        ModelError: The scheduler is of a process that is not supported.
        ConfigError: The settings are of another process, or don't say a dynamic shift.

    Example:
        >>> from diffusers import DDIMScheduler, UNet2DModel
        >>> network = UNet2DModel(8, 1, 1, block_out_channels=(8,) * 4, norm_num_groups=8)
        >>> model = DiffusionModel(network, DDIMScheduler())
        >>> model.size, model.process.timesteps, model.process.prediction
        ((1, 8, 8), 1000, 'epsilon')
    """

    network: nn.Module
    scheduler: Any
    shape: tuple[int, ...] | None = None
    codec: Codec = Pixels()
    text: Conditioner | None = None
    settings: ProcessConfig = OPEN

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", plain_network(self.network))
        if self.settings.guidance is not None:
            set_guidance(self.network, self.settings.guidance)
        self.process  # noqa: B018

    @classmethod
    def new(
        cls,
        config: ModelConfig,
        size: tuple[int, int, int],
        seed: int,
        features: int | None = None,
        settings: ProcessConfig = OPEN,
    ) -> DiffusionModel:
        """Return an untrained model for images of `size` (C, H, W); the weights depend on `seed` only.

        Its network takes embedded text of so many `features` for each token, or none. Its process has these settings.

        Raises:
            ConfigError: The levels don't fit the image, or none of them would see the text; or the settings are of
                another process.

        Example:
            >>> DiffusionModel.new(ModelConfig(channels=(8, 16)), (1, 8, 8), seed=0).size
            (1, 8, 8)
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            whole = complete_model(config, size, text=features is not None)
            network = new_network(whole, size) if features is None else new_text_network(whole, size, features)
        return cls(network.eval(), new_scheduler(config, settings), settings=settings)

    def untrained(self, seed: int) -> DiffusionModel:
        """A model of the same family with the weights from which a training with this seed begins."""
        family = family_of_network(self.network, "made anew")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = same_call(self.network, family.untrained(self.network))
        return replace(self, network=network.eval())

    @classmethod
    def load(
        cls,
        folder: Path,
        shape: tuple[int, ...] | None = None,
        adapters: Sequence[Adapter] = (),
        settings: ProcessConfig = OPEN,
        classes: Path | None = None,
    ) -> DiffusionModel:
        """Return the model in a diffusers folder of a known family, of a pipeline or of a network and its scheduler.

        Adapters change its network, and its text encoder where they have weights of it. A file of `classes` says which
        class each label of a model of classes is, see `whence.diffusion.class_names`. The settings of the process that
        are open are those of the run in the folder, if it is one.

        Raises:
            ArtefactError: The folder is not one, or its weights are missing, damaged or pickled.
            ModelError: The network or the scheduler is of a kind that is not supported; the message says the way out.
            NotFiniteError: A weight is NaN or infinite.
        """
        family = family_of_folder(folder)
        network, scheduler = family.read(folder)
        conditioner = family.conditioner(folder, adapters, classes)
        if adapters:
            weights = [read_adapter(adapter) for adapter in adapters]
            require_parts(weights, conditioner, folder)
            attach(network, weights)
        shape = shape or family.shape(network)
        settings = settings.completed(process_of_run(folder))
        model = cls(network, scheduler, shape, family.codec(folder), conditioner, settings)
        model.size  # noqa: B018
        return model

    def save(self, folder: Path) -> None:
        """Write an ordinary diffusers folder, which the pipeline of the network's family opens.

        Raises:
            ModelError: The network's family can't be saved, or it denoises latents.
        """
        if not isinstance(self.codec, Pixels):
            raise ModelError(f"A model of latents is not saved to {folder}: its autoencoder belongs to it.")
        family_of_network(self.network, "saved as a diffusers folder").write(self.network, self.scheduler, folder)
        if isinstance(self.text, ClassNames) and self.text.table:
            index = folder / "model_index.json"
            artefacts.write_json(index, read_mapping(index) | {ID_TO_LABEL: self.text.id2label})

    @cached_property
    def process(self) -> Process:
        """How examples are noised, and what the network predicts."""
        pipeline = flow_of_network(self.network)
        return process_of(self.scheduler, self.settings, pipeline, self._tokens(pipeline.patch))

    def _tokens(self, patch: int) -> int | None:
        """Number of tokens of an example; None where its shape is not known."""
        try:
            size = self.size
        except ModelError:
            return None
        return math.prod(size[1:]) // patch**2

    @cached_property
    def size(self) -> tuple[int, ...]:
        """Shape of an example, (C, H, W) of images: `shape`, else that in the network's configuration."""
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
    def device(self) -> torch.device:
        """The device of the network's weights."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    def output(self, x_t: Tensor, t: Tensor, **conditions: Tensor) -> Tensor:
        """What the network returns for x_t at timesteps [n], of the shape of x_t."""
        return denoise(self.network, x_t, t, **conditions)

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, **conditions: Tensor) -> Tensor:
        """ℓ of each example, [n]: w_t times the mean over the elements of (network(x_t, t) - target)²."""
        output = self.output(self.process.noised(x, t, noise), t, **conditions)
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        return self.process.loss(output, self.process.target(x, t, noise), t)


def process_of(
    scheduler: Any, settings: ProcessConfig, pipeline: FlowPipeline | None = None, tokens: int | None = None
) -> Process:
    """The process of a scheduler with settings; of a flow also by how its pipeline draws examples of so many tokens."""
    if FlowMatching.fits(scheduler):
        return FlowMatching(scheduler, settings, pipeline or FlowPipeline(), tokens)
    return VariancePreserving(scheduler, settings)


def process_of_run(folder: Path) -> ProcessConfig:
    """The settings of the process that the run in a folder states; those that are open, if it is no run or has none."""
    if not (folder / artefacts.MANIFEST).exists():
        return OPEN
    return ProcessConfig(**artefacts.read_manifest(folder, "model").made.get("process", {}))


def require_parts(adapters: Sequence[AdapterWeights], conditioner: Conditioner | None, folder: Path) -> None:
    """Check that a model has the text encoders that adapters change.

    Raises:
        ModelError: It lacks one.
    """
    encoders = conditioner.encoders if isinstance(conditioner, TextConditioner) else ()
    own = {encoder.part for encoder in encoders}
    for weights in adapters:
        others = [part for part in ("text_encoder", "text_encoder_2") if weights.of_part(part) and part not in own]
        if others:
            raise ModelError(
                f"{weights.source} changes the {others[0]}, which {folder} does not have. Give the model that the "
                "adapter was trained on."
            )


def fingerprint(model: DiffusionModel) -> str:
    """SHA-256 (hex) of the weights, the noise schedule and what is predicted: two equal models have the same."""
    process = model.process
    return artefacts.digest(
        [artefacts.tensor_digests(model.network.state_dict()), process.digest, process.prediction, repr(model.network)]
    )
