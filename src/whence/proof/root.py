"""The root: a hash that the holder of an ensemble publishes before anyone asks for certificates.

    root = SHA-256 of the canonical JSON of
        ensemble    its fingerprint, which covers configuration, codebook, data set, and every file of every member
        size        (C, H, W) of the images
        images      Merkle tree: fingerprint of the image -> [id, units]
        units       Merkle tree: unit -> [code word, ids of its images]

The fingerprint of an image is computed from its pixels here, not taken from the data set's table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from whence import artefacts
from whence.data import Dataset
from whence.ensemble import Codebook, Ensemble
from whence.errors import ProofError
from whence.proof.document import Count, Document, Hash, StrictModel
from whence.proof.merkle import Commitment, Tree


class Root(StrictModel):
    """The parts that the root hash is made of.

    Attributes:
        ensemble: Fingerprint of the ensemble.
        size: (C, H, W) of the training images.
        images: Tree over the training images.
        units: Tree over the units with their code words.
    """

    ensemble: Hash
    size: tuple[Count, Count, Count]
    images: Commitment
    units: Commitment

    @property
    def hash(self) -> str:
        """The root hash (hex)."""
        return artefacts.digest({"kind": "root", "version": 1, **self.model_dump(mode="json")})


class ProofDocument(Document):
    """A document about the data or the pictures of the ensemble that a root commits to.

    Attributes:
        statement: The claim in words, which is a function of the other fields.
        root: The root hash that it is checked against.
        root_of: The parts of the root hash.
    """

    format: Literal["whence"] = "whence"
    version: Literal[1] = 1
    statement: str
    root: Hash
    root_of: Root

    def require_root(self) -> str:
        """Check that the root hash is that of its parts."""
        if self.root_of.hash != self.root:
            raise ProofError(f"The parts of the root give {self.root_of.hash}; stated is {self.root}.")
        return f"they give {self.root}"

    def require_published(self, root: str) -> str:
        """Check that the root is the one that was published."""
        if self.root != root:
            raise ProofError(f"The document is for the root {self.root}, not for the published {root}.")
        return "it is the one that was given"


@dataclass(frozen=True)
class EnsembleTrees:
    """An ensemble with the trees over its data.

    Attributes:
        ensemble: The ensemble.
        data: Its training examples, with fingerprints computed from the pixels.
        images: Tree of fingerprint -> [id, units].
        units: Tree of unit -> [code word, ids].
        root: The parts of the root hash.
    """

    ensemble: Ensemble
    data: Dataset
    images: Tree
    units: Tree
    root: Root


def commit(ensemble: Ensemble) -> EnsembleTrees:
    """Return the trees and the root of an ensemble, after checking its data set by hash.

    Raises:
        ArtefactError: A file of the data set is damaged.
        ProofError: The images are not those that the ensemble was trained on.
    """
    artefacts.read_verified(ensemble.path / "data", "dataset")
    data = replace(ensemble.data)
    if data.fingerprint != (stated := ensemble.manifest.inputs.get("data")):
        raise ProofError(
            f"The images in {ensemble.path / 'data'} have the fingerprint {data.fingerprint}; the ensemble was trained "
            f"on {stated}."
        )
    examples = zip(data.fingerprints, data.ids, data.units, strict=True)
    images = Tree((fingerprint, [id, list(units)]) for fingerprint, id, units in examples)
    units = Tree((unit, unit_value(ensemble.codebook, data, unit)) for unit in ensemble.codebook.units)
    root = Root(
        ensemble=ensemble.manifest.fingerprint,
        size=data.size,
        images=images.commitment,
        units=units.commitment,
    )
    return EnsembleTrees(ensemble, data, images, units, root)


def unit_value(codebook: Codebook, data: Dataset, unit: str) -> list[object]:
    """The value of a unit in the tree of units: its code word as text, member 0 first, and the ids of its images."""
    return [code_word(codebook, unit), [data.ids[n] for n in data.examples_of(unit)]]


def code_word(codebook: Codebook, unit: str) -> str:
    """Return the code word of a unit as text: character m is 1 if member m may see the unit.

    Example:
        >>> code_word(Codebook.random(["ann"], members=4, seed=0), "ann").count("1")
        2
    """
    [column] = codebook.columns([unit])
    return "".join("1" if bit else "0" for bit in codebook.bits[:, column])
