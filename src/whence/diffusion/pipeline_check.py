"""A check of a model against the pipeline of diffusers that it belongs to: text, latents, loss and one picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor

from whence.config import SamplerConfig
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.class_names import ClassNames
from whence.diffusion.codec import Codec
from whence.diffusion.encoding import Encoders
from whence.diffusion.families.family import Family, family_of_folder
from whence.diffusion.families.reference import Reference
from whence.diffusion.families.unet import UNET
from whence.diffusion.flow_matching import FlowMatching
from whence.diffusion.model import DiffusionModel
from whence.diffusion.open_pipeline import open_pipeline
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import draw_pictures, parse_name, picture_noise
from whence.diffusion.shipped_base import base_folder
from whence.engine import one_thread
from whence.errors import ArtefactError, ModelError, WhenceError
from whence.process_config import OPEN, ProcessConfig

#: Largest difference of embeddings, latents and losses, and of a picture in [-1, 1] or its latents, by rounding alone.
ROUNDING, DRAWN = 1e-4, 1e-2
NAME = "0/0"
STEPS, GUIDANCE = 10, 5.0


@dataclass(frozen=True)
class Comparison:
    """One comparison with a pipeline.

    Attributes:
        what: What is compared.
        difference: The largest absolute difference of a value.
        bound: The largest difference that rounding explains.
    """

    what: str
    difference: float
    bound: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is no larger than rounding explains."""
        return self.difference <= self.bound


@dataclass(frozen=True)
class PipelineCheck:
    """A model, and its pipeline as diffusers opens it, with the same adapters.

    Attributes:
        model: The model as Whence reads it.
        pipeline: The pipeline of diffusers.
        prompt: What the picture is drawn from; None for "a picture", or the first class of a model of classes.
    """

    model: DiffusionModel
    pipeline: Any
    prompt: str | None = None
    family: Family = UNET

    @classmethod
    def open(
        cls,
        base: str | Path,
        adapters: Sequence[Adapter] = (),
        prompt: str | None = None,
        classes: Path | None = None,
        settings: ProcessConfig | None = None,
        size: tuple[int, int] | None = None,
    ) -> PipelineCheck:
        """Return the check of a folder, or of a base that comes with Whence by its name.

        The picture has the `size`, height and width, which may be those of a bucket; default those of the model.

        Raises:
            ArtefactError: The folder is no pipeline, or diffusers can't open it or put the adapters on it.
            ConfigError: There are adapters, and peft, which diffusers needs for them, is not installed.
        """
        folder = base_folder(base)
        if not (folder / "model_index.json").exists():
            raise ArtefactError(f"{folder} is no whole pipeline: it has no model_index.json to open it with.")
        family = family_of_folder(folder)
        shape = None if size is None else _example_size(family.codec(folder), *size)
        model = DiffusionModel.load(folder, shape, adapters, settings or OPEN, classes)
        pipeline = open_pipeline(folder, adapters)
        return cls(model, pipeline, prompt, family)

    @torch.no_grad()
    def compare(self) -> Iterator[Comparison]:
        """Yield comparisons of text, latents and the loss, as far as there are any, and last of the drawn picture.

        Raises:
            ModelError: The network or its pipeline doesn't take pictures of this size.
            WhenceError: A part of the model is damaged.
        """
        try:
            yield from self._comparisons()
        except WhenceError:
            raise
        except (RuntimeError, ValueError) as error:
            height, width = self.model.codec.picture_size(self.model.size)[1:]
            raise ModelError(
                f"Pictures of {width}x{height} pixels can't be compared: {str(error).splitlines()[0]} Give another "
                "--resolution."
            ) from error

    def _comparisons(self) -> Iterator[Comparison]:
        model, size = self.model, self.model.codec.picture_size(self.model.size)
        theirs = self.reference.conditions(self.text)
        own = {name: one[[0]] for name, one in Encoders.of(model).conditions([self.text]).items()}
        if model.text is not None:
            difference = max(_difference(own[name], theirs[name]) for name in own) if own.keys() == theirs.keys() else 1
            yield Comparison("embedded prompt", difference, ROUNDING)
        noise = picture_noise([parse_name(NAME)], 0, size)
        pixels = ((noise.clamp(-2, 2) / 4 + 0.5) * 255).round().to(torch.uint8)
        x = self.reference.latents(pixels.float() / 127.5 - 1)
        if not Encoders.of(model).draws_pixels:
            yield Comparison("latents", _difference(model.codec.encode(pixels), x), ROUNDING)
        t, start = torch.tensor([model.process.timesteps // 2]), picture_noise([parse_name(NAME)], 0, model.size)
        with one_thread():
            loss = model.loss(x, t, start, **theirs)
            yield Comparison("loss", _difference(loss, self._loss(x, t, start, theirs)), ROUNDING)
        picture = self.reference.drawn(start, self.text, self.guidance, self.sampler.steps)
        bound = model.codec.bound
        picture = picture if bound is None else picture.clamp(-bound, bound)
        scale = max(1.0, picture.abs().max().item())
        yield Comparison("drawn picture", _difference(self.drawn, picture) / scale, DRAWN)

    @cached_property
    def reference(self) -> Reference:
        """The pipeline as the family uses it."""
        size, guidance = self.model.codec.picture_size(self.model.size), self.model.process.record().get("guidance")
        return self.family.reference(self.pipeline, size, self.sampler.clip, guidance)

    @cached_property
    def text(self) -> str:
        """What the picture is drawn from: the prompt, or without one the first class of a model of classes."""
        if self.prompt is not None:
            return self.prompt
        return self.model.text.names[0] if isinstance(self.model.text, ClassNames) else "a picture"

    @property
    def guidance(self) -> float:
        """The scale at which the picture is drawn: none where there is nothing to be guided away from."""
        if self.model.text is None or (isinstance(self.model.text, ClassNames) and self.model.text.null is None):
            return 1.0
        return GUIDANCE

    @cached_property
    def drawn(self) -> Tensor:
        """What Whence draws, with guidance if there is text: pictures or latents float32 [1, ...]."""
        prompts = None if self.model.text is None else Prompts((self.text,), guidance=self.guidance)
        conditions, guidance = Encoders.of(self.model).prompted(prompts, [NAME])
        return draw_pictures(self.model, self.sampler, [NAME], conditions=conditions, guidance=guidance)

    def picture(self) -> np.ndarray:
        """The picture that Whence draws, uint8 [C, H, W]."""
        decoded: np.ndarray = self.model.codec.decode(self.drawn)[0]
        return decoded

    @property
    def sampler(self) -> SamplerConfig:
        """DDIM, or Euler's method of flows, in a few steps, clipped as the scheduler clips."""
        steps = min(self.model.process.timesteps, STEPS)
        clip = bool(self.model.scheduler.config.get("clip_sample", False))
        return SamplerConfig(method=self.model.process.samplers[0], steps=steps, clip=clip, batch_size=1)

    def _loss(self, x: Tensor, t: Tensor, noise: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """The loss by the pipeline's network, and by its scheduler or on the straight way of a flow to the noise."""
        process = self.model.process
        if isinstance(process, FlowMatching):
            sigma = (t / process.timesteps).reshape(-1, *[1] * (x.dim() - 1))
            x_t, target = (1 - sigma) * x + sigma * noise, noise - x
            return self._weighted(self.reference.output(x_t, t, conditions) - target, t)
        scheduler = diffusers.DDPMScheduler.from_config(self.pipeline.scheduler.config)
        output = self.reference.output(scheduler.add_noise(x, noise, t), t, conditions)
        kind = self.model.process.prediction
        target = noise if kind == "epsilon" else x if kind == "sample" else scheduler.get_velocity(x, noise, t)
        return self._weighted(output - target, t)

    def _weighted(self, error: Tensor, t: Tensor) -> Tensor:
        """The loss of an error of the output."""
        return error.square().flatten(1).mean(1) * self.model.process.weight(t).float()


def _example_size(codec: Codec, height: int, width: int) -> tuple[int, ...] | None:
    """The shape of the example of a picture of this height and width; None where the network decides about it."""
    high, wide = codec.example_size(height), codec.example_size(width)
    return None if high is None or wide is None else (*high[:2], wide[2])


def _difference(a: Tensor, b: Tensor | None) -> float:
    return math.inf if b is None else float((a.double() - b.double()).abs().max())
