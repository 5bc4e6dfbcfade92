"""Certificates: this picture was drawn by members of which none was trained on these units.

A certificate holds everything that the root hash is made of, so that most of it can be checked by anyone who has the
root; with the run directory, all of it can.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue
from torch import Tensor

from whence import artefacts, images
from whence.artefacts import Manifest
from whence.proof.documents import Count, Hash, Strict
from whence.proof.merkle import Place
from whence.proof.near import Near
from whence.proof.root import Statement

SampleName = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,8})/(0|[1-9][0-9]{0,8})$")]


class Content(Strict):
    """What the fingerprint of an artefact is made of; the fields are those of its manifest."""

    kind: str
    inputs: Mapping[str, JsonValue]
    made: Mapping[str, JsonValue]
    files: Mapping[str, Hash]
    parts: Mapping[str, Hash]

    @classmethod
    def of(cls, manifest: Manifest) -> Content:
        """What is in a manifest."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields})

    @property
    def fingerprint(self) -> str:
        """The fingerprint that the artefact has."""
        return Manifest(**self.model_dump(mode="json")).fingerprint


class Picture(Strict):
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
        """A picture float32 [C, H, W] in [-1, 1]."""
        pixels = images.to_pixels(picture)
        return cls(
            size=tuple(pixels.shape),
            png=base64.b64encode(images.png(pixels)).decode(),
            pixels=artefacts.digest(pixels.tobytes()),
            floats=float_digest(picture),
        )


class Unit(Strict):
    """A unit that no survivor was trained on.

    Attributes:
        unit: Its name.
        word: Its code word: character m is 1 if member m may see it.
        ids: All its training images.
        place: Where it is in the tree of units.
    """

    unit: str
    word: Annotated[str, Field(pattern="^[01]+$")]
    ids: tuple[str, ...]
    place: Place


class Example(Strict):
    """A training image that the certificate speaks of.

    Attributes:
        id: Its id.
        fingerprint: SHA-256 of its pixels.
        units: Whose it is.
        place: Where it is in the tree of images.
    """

    id: str
    fingerprint: Hash
    units: tuple[str, ...]
    place: Place


class Survivor(Strict):
    """A member that drew the picture.

    Attributes:
        member: Its number.
        fingerprint: Its fingerprint.
        run: What the fingerprint is made of: settings with the seed, the data set that it was trained on, and SHA-256
            of its weights, of its record and of its list of examples.
    """

    member: Count
    fingerprint: Hash
    run: Content


class Certificate(Statement):
    """The statement, with what is needed to check it.

    Attributes:
        proven: What a verifier can rely on.
        not_proven: What no one should read into it.
        ensemble: What the ensemble's fingerprint is made of.
        sample: SEED/INDEX of the picture, which gives its noise.
        sampler: How it was drawn.
        picture: The picture without the units.
        units: The units.
        survivors: The members that drew it.
        examples: Every training image of the units, and those in `near`.
        near: The training images that survivors saw which look most like those of the units.
        environment: Versions that drew it; for information.
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
    near: tuple[Near, ...]
    environment: Mapping[str, str]

    @property
    def members(self) -> list[int]:
        """The survivors' numbers."""
        return [survivor.member for survivor in self.survivors]


def float_digest(picture: Tensor) -> str:
    """SHA-256 (hex) of the float32 values of a picture, little-endian."""
    return artefacts.digest(picture.numpy().astype("<f4").tobytes())
