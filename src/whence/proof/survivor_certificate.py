"""What all certificates have in common: none of the members that made something was trained on these units.

A certificate holds everything that the root hash is made of. So anyone who has the root hash can check most of it, and
anyone who has the run directory can check all of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue

from whence.artefacts import Manifest
from whence.proof.document import Count, Hash, StrictModel
from whence.proof.root import Place, ProofDocument

#: The first reason of every certificate: what its root alone shows.
COMMITMENT = (
    "With the root hash alone: when it was published, the holder had committed to these members (weights, settings, "
    "seeds and records by hash), to these code words and images of the units, and these members are all those whose "
    "bit is 0 for every one of the units."
)


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
    """A member that made what the certificate is about.

    The content that its fingerprint is made of: settings with the seed, fingerprint of the data, and SHA-256 of its
    weights, of its record and of its list of examples.
    """

    member: Count
    fingerprint: Hash
    run: Content


class SurvivorCertificate(ProofDocument):
    """A statement about what the members without some units made, with everything that it takes to check it.

    Attributes:
        subject: What they made, in a sentence.
        work: How it came about, in a sentence.
        proven: What a verifier can rely on.
        not_proven: What the certificate does not show.
        ensemble: The content that the fingerprint of the ensemble is made of.
        units: The units.
        survivors: The members without them.
        examples: Every training image of the units, and those in `near`.
        near: The training images that survivors saw and that look most like those of the units.
        environment: Versions of the packages that made it, for information.
    """

    subject: ClassVar[str]
    work: ClassVar[str]
    kind: str
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    ensemble: Content
    units: Annotated[tuple[Unit, ...], Field(min_length=1)]
    survivors: Annotated[tuple[Survivor, ...], Field(min_length=1)]
    examples: tuple[Example, ...]
    near: tuple[NearDuplicate, ...]
    environment: Mapping[str, str]

    @property
    def members(self) -> list[int]:
        """The numbers of the survivors."""
        return [survivor.member for survivor in self.survivors]

    @property
    def unit_names(self) -> list[str]:
        """The names of the units."""
        return [unit.unit for unit in self.units]

    def words(self) -> dict[str, Any]:
        """Return the fields that are sentences, as the other fields give them, so that the two can't differ."""
        return {"statement": self.claim(), "proven": self.reasons(), "not_proven": self.limits()}

    @abstractmethod
    def claim(self) -> str:
        """Return the statement."""

    @abstractmethod
    def reasons(self) -> tuple[str, ...]:
        """Return what a verifier can rely on."""

    def limits(self) -> tuple[str, ...]:
        """Return what the certificate does not show."""
        identical = {duplicate.id for duplicate in self.near if duplicate.identical}
        distances = [duplicate.distance for duplicate in self.near]
        nearest = f"; the nearest is at distance {min(distances):.3f} (pixels in [0, 1])" if distances else ""
        return (
            "That the members were trained as their records say: the records are the holder's word, except for a "
            "member that the verifier retrains.",
            f"Anything about other models: it speaks of this ensemble and this {self.subject}.",
            "That nothing like the units' images was seen. Near-duplicates that belong to other units remain; those "
            f"nearest are listed under `near`, {len(identical)} of them identical to the last pixel{nearest}.",
            "That all images of a person, artist or owner are in the units: units are as the holder declared them.",
            "Anything at all against a holder who publishes the root only afterwards: compare with a root hash that "
            "was published before, by another way than this file.",
        )

    def describe_members(self) -> str:
        """Return which members they are, and what none of them was trained on; the end of the statement."""
        ids = {id for unit in self.units for id in unit.ids}
        units = ", ".join(map(repr, self.unit_names))
        members = ", ".join(map(str, self.members))
        return (
            f"member(s) {members} of {len(self.units[0].word)}, of which none was trained on any of the {len(ids)} "
            f"training image(s) of the unit(s) {units}."
        )
