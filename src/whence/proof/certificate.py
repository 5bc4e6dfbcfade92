"""Certificates: this picture was drawn by members of which none was trained on these units.

A certificate holds everything that the root hash is made of. So anyone who has the root hash can check most of it, and
anyone who has the run directory can check all of it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue
from torch import Tensor

from whence import artefacts, images
from whence.artefacts import Manifest
from whence.proof.document import Count, Hash, StrictModel
from whence.proof.merkle import Place
from whence.proof.near_duplicates import NearDuplicate
from whence.proof.root import ProofDocument

SampleName = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,8})/(0|[1-9][0-9]{0,8})$")]


class Content(StrictModel):
    """The fields of a manifest that the fingerprint of an artefact is made of."""

    kind: str
    inputs: Mapping[str, JsonValue]
    made: Mapping[str, JsonValue]
    files: Mapping[str, Hash]
    parts: Mapping[str, Hash]

    @classmethod
    def of(cls, manifest: Manifest) -> Content:
        """The content of a manifest."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields})

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the artefact."""
        return Manifest(**self.model_dump(mode="json")).fingerprint


class Picture(StrictModel):
    """A picture.

    Attributes:
        size: (C, H, W).
        png: Its PNG file in base64.
        pixels: SHA-256 (hex) of its uint8 pixels [C, H, W].
        floats: SHA-256 (hex) of its float32 values in [-1, 1], little-endian, before rounding.
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


class Unit(StrictModel):
    """A unit that no survivor was trained on.

    Attributes:
        unit: Its name.
        word: Its code word: character m is 1 if member m may see it.
        ids: All its training images.
        place: Its place in the tree of units.
    """

    unit: str
    word: Annotated[str, Field(pattern="^[01]+$")]
    ids: tuple[str, ...]
    place: Place


class Example(StrictModel):
    """A training image that a certificate or proof names.

    Attributes:
        id: Its id.
        fingerprint: SHA-256 of its pixels.
        units: The units that it belongs to.
        place: Its place in the tree of images.
    """

    id: str
    fingerprint: Hash
    units: tuple[str, ...]
    place: Place


class Survivor(StrictModel):
    """A member that drew the picture.

    Attributes:
        member: Its number.
        fingerprint: Its fingerprint.
        run: The content that the fingerprint is made of: settings with the seed, fingerprint of the data, and SHA-256
            of its weights, of its record and of its list of examples.
    """

    member: Count
    fingerprint: Hash
    run: Content


class Certificate(ProofDocument):
    """A statement about a picture, with everything that it takes to check it.

    Attributes:
        proven: What a verifier can rely on.
        not_proven: What the certificate does not show.
        ensemble: The content that the fingerprint of the ensemble is made of.
        sample: SEED/INDEX of the picture, which gives its noise.
        sampler: How it was drawn.
        picture: The picture without the units.
        units: The units.
        survivors: The members that drew it.
        examples: Every training image of the units, and those in `near`.
        near: The training images that survivors saw and that look most like those of the units.
        environment: Versions of the packages that drew it, for information.
    """

    kind: Literal["certificate"]
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    ensemble: Content
    sample: SampleName
    sampler: Mapping[str, JsonValue]
    picture: Picture
    units: Annotated[tuple[Unit, ...], Field(min_length=1)]
    survivors: Annotated[tuple[Survivor, ...], Field(min_length=1)]
    examples: tuple[Example, ...]
    near: tuple[NearDuplicate, ...]
    environment: Mapping[str, str]

    @property
    def members(self) -> list[int]:
        """The numbers of the survivors."""
        return [survivor.member for survivor in self.survivors]


def float_digest(picture: Tensor) -> str:
    """SHA-256 (hex) of the float32 values of a picture, little-endian."""
    return artefacts.digest(picture.numpy().astype("<f4").tobytes())
