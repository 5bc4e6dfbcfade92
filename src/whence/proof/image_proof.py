"""Proofs that an image is, or is not, among the training images. They don't show the other images.

A proof of absence shows only the fingerprints of the two training images between which this one would stand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from whence import artefacts
from whence.data.pixels import decode
from whence.ensemble import Ensemble
from whence.errors import DataError, ProofError
from whence.proof.document import Hash
from whence.proof.root import Neighbour, ProofDocument, commit
from whence.proof.survivor_certificate import Example


class ImageProof(ProofDocument):
    """The fields of both kinds of proof; `image` is the fingerprint of the image: SHA-256 of its size and pixels."""

    kind: str
    image: Hash

    def require_words(self) -> str:
        """Check that the sentence is the one that the fields give."""
        if self.statement != image_statement(self.kind, self.root, self.image, self.root_of.images.leaves):
            raise ProofError("The statement in words is not what the fields say.")
        return "the sentence is the one that the fields give"

    def require_image(self, image: str | Path | np.ndarray) -> str:
        """Check that the proof is about an image."""
        fingerprint = image_fingerprint(image, self.root_of.size)
        if fingerprint != self.image:
            raise ProofError(
                f"The image that was given has the fingerprint {fingerprint}; the proof is about {self.image}."
            )
        return "it is the one that was given"


class Membership(ImageProof):
    """The proof that an image is one or more of the training images; `examples` are those with its pixels."""

    kind: Literal["membership"]
    examples: Annotated[tuple[Example, ...], Field(min_length=1)]

    def require(self) -> str:
        """Check that the proof leads to its own root."""
        if len({example.id for example in self.examples}) < len(self.examples):
            raise ProofError("A training example is listed twice.")
        for example in self.examples:
            if example.fingerprint != self.image:
                raise ProofError(f"Training example {example.id!r} is another image.")
            self.root_of.images.require(example.fingerprint, [example.id, list(example.units)], example.place)
        return f"it is the training image {', '.join(repr(example.id) for example in self.examples)}"


class Absence(ImageProof):
    """The proof that an image is none of the training images, by the two of them between which it would stand."""

    kind: Literal["absence"]
    left: Neighbour | None
    right: Neighbour | None

    def require(self) -> str:
        """Check that the proof leads to its own root."""
        self.root_of.images.require_absent(self.image, self.left, self.right)
        return f"no training image stands where it would, among {self.root_of.images.leaves:,}"


def prove(ensemble: Ensemble, image: str | Path | np.ndarray) -> Membership | Absence:
    """Return the proof that an image, a file or uint8 pixels [C, H, W], is or is not among the training images.

    Raises:
        DataError: It is no image, or of another size than the training images.
        ArtefactError: The run is damaged.
    """
    trees = commit(ensemble)
    fingerprint = image_fingerprint(image, trees.data.size)
    leaves, root = trees.images.commitment.leaves, trees.root.hash
    positions = trees.images.positions(fingerprint)
    kind = "membership" if positions else "absence"
    fields: dict[str, Any] = {
        "kind": kind,
        "statement": image_statement(kind, root, fingerprint, leaves),
        "root": root,
        "root_of": trees.root,
        "image": fingerprint,
    }
    if not positions:
        left, right = trees.images.around(fingerprint)
        return Absence.sealed(**fields, left=left, right=right)
    examples = []
    for index in positions:
        id, units = trees.images.entries[index][1]
        place = trees.images.place(index)
        examples.append(Example(id=id, fingerprint=fingerprint, units=tuple(units), place=place))
    return Membership.sealed(**fields, examples=tuple(examples))


def image_fingerprint(image: str | Path | np.ndarray, size: tuple[int, int, int]) -> str:
    """Return the fingerprint that an image would have in a data set of images of `size` (C, H, W).

    If the training images are square, a file is cropped to its central square and scaled, as by ``--resolution``.

    Raises:
        DataError: It is no image, or of another size.
    """
    if not isinstance(image, np.ndarray):
        resolution = size[1] if size[1] == size[2] else None
        image = decode(Path(image), str(image), channels=size[0], resolution=resolution)
    if image.dtype != np.uint8 or image.shape != size:
        raise DataError(
            f"The image is {image.dtype} {'x'.join(map(str, image.shape))} (C x H x W), the training images are uint8 "
            f"{'x'.join(map(str, size))}."
        )
    return artefacts.digest("x".join(map(str, size)).encode() + b":" + image.tobytes())


def image_statement(kind: str, root: str, fingerprint: str, leaves: int) -> str:
    """The claim of a proof about one image."""
    verb = "is" if kind == "membership" else "is not"
    return (
        f"The image whose pixels have the SHA-256 {fingerprint[:12]} {verb} among the {leaves:,} training images of "
        f"the root {root[:12]}. This is about exactly these pixels: a copy that was cropped, scaled or compressed "
        "again is another image."
    )
