"""Certificates of pictures: this picture was drawn by members of which none was trained on these units."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue
from torch import Tensor

from whence import artefacts, images
from whence.ensemble.drawing import Combine
from whence.proof.document import Count, Hash, StrictModel
from whence.proof.relative_certificate import RETRAINING, RelativeCertificate
from whence.proof.survivor_certificate import COMMITMENT, SurvivorCertificate

#: Largest difference, in grey levels of 255, between a picture and the one drawn again on another machine. Of adapters
#: on a small base no pixel differed with other kernels, other batches or 50 steps.
BOUND = 1

PROVEN = (
    COMMITMENT,
    "With the run directory too: its files are those of the root; in the records of these members no batch of any "
    "training step holds an image of the units; and these members draw this picture from the noise of its name, bit "
    f"for bit on a machine like the one that drew it, within {BOUND} of 255 grey levels per pixel on any other.",
    "For a member that is retrained (--retrain-one): these weights are what its record says, so that they can't have "
    "been trained on anything else, where they come out the same to the last bit.",
)
PROVEN_OF_PROMPTS = (
    COMMITMENT,
    "With the run directory and the base too: their files are those of the root; in the records of these members no "
    "batch of any training step holds an image of the units; and these members, on this base, draw this picture from "
    "the noise of its name, its prompt and its guidance, bit for bit on a machine like the one that drew it, within "
    f"{BOUND} of 255 grey levels per pixel on any other.",
    RETRAINING,
)

SampleName = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,8})/(0|[1-9][0-9]{0,8})$")]


class Picture(StrictModel):
    """A picture of size (C, H, W), as a PNG file in base64.

    Its hashes are SHA-256 (hex): of its uint8 pixels [C, H, W], and of its float32 values in [-1, 1], little-endian,
    before rounding.
    """

    size: tuple[Count, Count, Count]
    png: str
    pixels: Hash
    floats: Hash

    @classmethod
    def of(cls, picture: Tensor) -> Picture:
        """The content of a picture float32 [C, H, W] in [-1, 1]."""
        pixels = images.to_pixels(picture)
        return cls(
            size=tuple(pixels.shape),
            png=base64.b64encode(images.png(pixels)).decode(),
            pixels=artefacts.digest(pixels.tobytes()),
            floats=float_digest(picture),
        )


class PictureCertificate(SurvivorCertificate):
    """A statement about a picture without some units.

    Attributes:
        sample: SEED/INDEX of the picture, which gives its noise.
        sampler: How it was drawn.
        picture: The picture without the units.
    """

    subject: ClassVar[str] = "picture"
    work: ClassVar[str] = "the drawing of the picture"
    sample: SampleName
    sampler: Mapping[str, JsonValue]
    picture: Picture

    def claim(self) -> str:
        """Return the statement."""
        return (
            f"Picture {self.sample} of the ensemble {self.root_of.ensemble[:12]}, drawn again from {self.origin} by "
            f"{self.describe_members()}"
        )

    @property
    def origin(self) -> str:
        """What the picture was drawn from, in a sentence."""
        return "its own noise"

    def write(self, path: Path) -> None:
        """Write it as a JSON file, whole or not at all. The picture stands before what shows where it comes from."""
        fields = self.model_dump(mode="json")
        for name in ("units", "survivors", "examples", "near", "environment"):
            fields[name] = fields.pop(name)
        artefacts.write_json(path, fields)


class Certificate(PictureCertificate):
    """A statement about a picture of an ensemble of whole networks."""

    kind: Literal["certificate"]

    def reasons(self) -> tuple[str, ...]:
        """Return what a verifier can rely on."""
        return PROVEN


class Prompt(StrictModel):
    """What a picture was drawn from: a text, the text that it was guided away from, and the scale of the guidance."""

    text: str
    negative: str
    guidance: Annotated[float, Field(ge=0)]

    def __str__(self) -> str:
        """What it is, in a sentence."""
        away = f", guided by {self.guidance:g} away from {self.negative!r}" if self.guidance != 1 else ""
        return f"the prompt {self.text!r}{away}"


class PromptCertificate(RelativeCertificate, PictureCertificate):
    """A statement about a picture of an ensemble of adapters, relative to their base.

    Attributes:
        prompt: What the picture was drawn from.
        combine: What the mean is of: the members' ``predictions``, or their changes of the ``weights``.
    """

    kind: Literal["prompt-certificate"]
    prompt: Prompt
    combine: Combine

    @property
    def origin(self) -> str:
        """What the picture was drawn from, in a sentence."""
        return f"its own noise and {self.prompt}, by the mean of {self.combine},"

    def reasons(self) -> tuple[str, ...]:
        """Return what a verifier can rely on."""
        return PROVEN_OF_PROMPTS


def float_digest(picture: Tensor) -> str:
    """SHA-256 (hex) of the float32 values of a picture, little-endian."""
    return artefacts.digest(picture.numpy().astype("<f4").tobytes())
