"""Certificates: this picture was drawn by members of which none was trained on these units.

A certificate holds everything that the root hash is made of. So anyone who has the root hash can check most of it, and
anyone who has the run directory can check all of it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue
from torch import Tensor

from whence import artefacts, images
from whence.artefacts import Manifest
from whence.proof.document import Count, Hash, StrictModel
from whence.proof.root import Place, ProofDocument

#: Largest difference, in grey levels of 255, between a picture and the one drawn again on another machine.
BOUND = 1

PROVEN = (
    "With the root hash alone: when it was published, the holder had committed to these members (weights, settings, "
    "seeds and records by hash), to these code words and images of the units, and these members are all those whose "
    "bit is 0 for every one of the units.",
    "With the run directory too: its files are those of the root; in the records of these members no batch of any "
    "training step holds an image of the units; and these members draw this picture from the noise of its name, bit "
    f"for bit on a machine like the one that drew it, within {BOUND} of 255 grey levels per pixel on any other.",
    "For a member that is retrained (--retrain-one): these weights are what its record says, so that they can't have "
    "been trained on anything else, where they come out the same to the last bit.",
)

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
        """Return the content of a manifest."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields})

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the artefact."""
        return Manifest(**self.model_dump(mode="json")).fingerprint


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


class Unit(StrictModel):
    """A unit that no survivor was trained on, all its training images, and its place in the tree of units.

    Character m of its code word is 1 if member m may see it.
    """

    unit: str
    word: Annotated[str, Field(pattern="^[01]+$")]
    ids: tuple[str, ...]
    place: Place


class Example(StrictModel):
    """A training image that is named: its id, SHA-256 of its pixels, units, and place in the tree of images."""

    id: str
    fingerprint: Hash
    units: tuple[str, ...]
    place: Place


class NearDuplicate(StrictModel):
    """A training image `id` that some survivor saw, and the image of the units that it looks like.

    The Euclidean distance between them, pixels in [0, 1], is exact up to the last rounding.
    """

    of: str
    id: str
    distance: float
    identical: bool


class Survivor(StrictModel):
    """A member that drew the picture.

    The content that its fingerprint is made of: settings with the seed, fingerprint of the data, and SHA-256 of its
    weights, of its record and of its list of examples.
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

    def words(self) -> dict[str, Any]:
        """Return the fields that are sentences, as the other fields give them, so that the two can't differ."""
        ids = {id for unit in self.units for id in unit.ids}
        units = ", ".join(repr(unit.unit) for unit in self.units)
        members = ", ".join(map(str, self.members))
        statement = (
            f"Picture {self.sample} of the ensemble {self.root_of.ensemble[:12]}, drawn again from its own noise by "
            f"member(s) {members} of {len(self.units[0].word)}, of which none was trained on any of the {len(ids)} "
            f"training image(s) of the unit(s) {units}."
        )
        return {"statement": statement, "proven": PROVEN, "not_proven": self._not_proven()}

    def _not_proven(self) -> tuple[str, ...]:
        identical = {duplicate.id for duplicate in self.near if duplicate.identical}
        distances = [duplicate.distance for duplicate in self.near]
        nearest = f"; the nearest is at distance {min(distances):.3f} (pixels in [0, 1])" if distances else ""
        return (
            "That the members were trained as their records say: the records are the holder's word, except for a "
            "member that the verifier retrains.",
            "Anything about other models: it speaks of this ensemble and this picture.",
            "That nothing like the units' images was seen. Near-duplicates that belong to other units remain; those "
            f"nearest are listed under `near`, {len(identical)} of them identical to the last pixel{nearest}.",
            "That all images of a person, artist or owner are in the units: units are as the holder declared them.",
            "Anything at all against a holder who publishes the root only afterwards: compare with a root hash that "
            "was published before, by another way than this file.",
        )


def float_digest(picture: Tensor) -> str:
    """SHA-256 (hex) of the float32 values of a picture, little-endian."""
    return artefacts.digest(picture.numpy().astype("<f4").tobytes())
