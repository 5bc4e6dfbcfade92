"""Proofs about one image: it is among the training images, or it is not; the others stay unseen.

An absence proof shows the fingerprints of the two training images between which this one would stand, nothing else.
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
from whence.proof import words
from whence.proof.certificate import Example
from whence.proof.documents import Hash
from whence.proof.merkle import Neighbour
from whence.proof.root import Statement, commit


class ImageProof(Statement):
    """What is the same in both proofs.

    Attributes:
        image: Fingerprint of the image: SHA-256 of its size and pixels.
    """

    kind: str
    image: Hash

    def require_words(self) -> str:
        """Return the finding that the sentence is the one that the fields give.

        Raises:
            ProofError: It isn't.
        """
        if self.statement != words.image_statement(self.kind, self.root, self.image, self.root_of.images.leaves):
            raise ProofError("The statement in words is not what the fields say.")
        return "the sentence is the one that the fields give"

    def require_image(self, image: str | Path | np.ndarray) -> str:
        """Return the finding that the proof is about an image.

        Raises:
            ProofError: It is about another.
        """
        found = image_fingerprint(image, self.root_of.size)
        if found != self.image:
            raise ProofError(f"The image that was given has the fingerprint {found}; the proof is about {self.image}.")
        return "it is the one that was given"


class Membership(ImageProof):
    """The image is a training image, once or more.

    Attributes:
        examples: The training examples with these pixels.
    """

    kind: Literal["membership"]
    examples: Annotated[tuple[Example, ...], Field(min_length=1)]

    def require(self) -> str:
        """Return the finding that the proof leads to its own root.

        Raises:
            ProofError: It doesn't hold.
        """
        if len({one.id for one in self.examples}) < len(self.examples):
            raise ProofError("A training example is listed twice.")
        for one in self.examples:
            if one.fingerprint != self.image:
                raise ProofError(f"Training example {one.id!r} is another image.")
            self.root_of.images.require(one.fingerprint, [one.id, list(one.units)], one.place)
        return f"it is the training image {', '.join(repr(one.id) for one in self.examples)}"


class Absence(ImageProof):
    """The image is no training image.

    Attributes:
        left: The last training image whose fingerprint is smaller.
        right: The first whose fingerprint is larger.
    """

    kind: Literal["absence"]
    left: Neighbour | None
    right: Neighbour | None

    def require(self) -> str:
        """Return the finding that the proof leads to its own root.

        Raises:
            ProofError: It doesn't hold.
        """
        self.root_of.images.require_absent(self.image, self.left, self.right)
        return f"no training image stands where it would, among {self.root_of.images.leaves:,}"


def prove(ensemble: Ensemble, image: str | Path | np.ndarray) -> Membership | Absence:
    """Return the proof that an image is, or is not, among the training images.

    Args:
        ensemble: A whole ensemble.
        image: An image file, or uint8 pixels [C, H, W].

    Raises:
        DataError: It is no image, or of another size than the training images.
        ArtefactError: The run is damaged.
    """
    committed = commit(ensemble)
    fingerprint = image_fingerprint(image, committed.data.size)
    leaves, root = committed.images.commitment.leaves, committed.root.hash
    found = committed.images.positions(fingerprint)
    kind = "membership" if found else "absence"
    fields: dict[str, Any] = {
        "kind": kind,
        "statement": words.image_statement(kind, root, fingerprint, leaves),
        "root": root,
        "root_of": committed.root,
        "image": fingerprint,
    }
    if not found:
        left, right = committed.images.around(fingerprint)
        return Absence.sealed(**fields, left=left, right=right)
    examples = []
    for index in found:
        id, units = committed.images.entries[index][1]
        place = committed.images.place(index)
        examples.append(Example(id=id, fingerprint=fingerprint, units=tuple(units), place=place))
    return Membership.sealed(**fields, examples=tuple(examples))


def image_fingerprint(image: str | Path | np.ndarray, size: tuple[int, int, int]) -> str:
    """Return the fingerprint of an image as a data set of images of `size` (C, H, W) would have it.

    Square training images stand for the central square of a file, scaled, as ``--resolution`` makes them.

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
