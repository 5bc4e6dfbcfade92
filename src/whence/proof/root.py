"""The root: a hash that the holder of an ensemble publishes before anyone asks for certificates.

    root = SHA-256 of the canonical JSON of
        ensemble    its fingerprint, which covers configuration, codebook, data set, and every file of every member
        size        (C, H, W) of the images
        images      Merkle tree: fingerprint of the image -> [id, units]
        units       Merkle tree: unit -> [code word, ids of its images]

The fingerprint of an image is computed from its pixels here, not taken from the data set's table. A sorted Merkle tree
is one hash for many entries, each of which can be shown to be there, or to be absent, by itself:

    leaf = SHA-256(0x00 ‖ JSON of [key, SHA-256 of the value])
    node = SHA-256(0x01 ‖ left ‖ right)                           (RFC 6962, section 2.1)

The entries are sorted by key, by code points, and then by value. A node without a neighbour moves up unchanged. This is
the tree of RFC 6962: its left part is the largest power of two. Root and number of leaves together fix the place of
every leaf. So two leaves that stand beside each other show that no key between theirs is there. A leaf holds only the
hash of its value, so a neighbour can be shown without its value.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from whence import artefacts
from whence.data import Dataset
from whence.ensemble import Codebook, Ensemble
from whence.errors import ProofError
from whence.proof.document import Count, Document, Hash, StrictModel


class Place(StrictModel):
    """The number of a leaf, from 0, and the hashes (hex) beside its path, from its neighbour to the root's child."""

    index: Count
    path: tuple[Hash, ...]


class Neighbour(StrictModel):
    """A leaf that is shown without its value, by the SHA-256 (hex) of it."""

    key: str
    value: Hash
    place: Place


class Commitment(StrictModel):
    """The part of a tree that is published: the hash (hex) at its top, and the number of its leaves."""

    root: Hash
    leaves: Count

    def require(self, key: str, value: Any, place: Place) -> None:
        """Check that an entry is in the tree, at this place, or raise ProofError."""
        self._require_leaf(key, artefacts.digest(value), place)

    def require_absent(self, key: str, left: Neighbour | None, right: Neighbour | None) -> None:
        """Check that no entry has this key, by the leaves between which it would stand; None at an end of the tree.

        Raises:
            ProofError: The leaves don't show it.
        """
        for leaf in (left, right):
            if leaf is not None:
                self._require_leaf(leaf.key, leaf.value, leaf.place)
        before = -1 if left is None else left.place.index
        after = self.leaves if right is None else right.place.index
        if left is not None and left.key >= key or right is not None and right.key <= key:
            raise ProofError("The leaves that should stand on both sides of the key don't.")
        if after != before + 1:
            raise ProofError(f"Leaves {before} and {after} of {self.leaves} don't stand beside each other.")

    def _require_leaf(self, key: str, value: str, place: Place) -> None:
        if place.index >= self.leaves:
            raise ProofError(f"There is no leaf {place.index} among {self.leaves}.")
        node, index, last, path = _leaf(key, value), place.index, self.leaves - 1, list(place.path)
        while last > 0:
            if (index % 2 == 1 or index < last) and not path:
                raise ProofError(f"The way from leaf {place.index} to the root is too short.")
            if index % 2 == 1:
                node = _node(bytes.fromhex(path.pop(0)), node)
            elif index < last:
                node = _node(node, bytes.fromhex(path.pop(0)))
            index, last = index // 2, last // 2
        if path or node.hex() != self.root:
            raise ProofError(f"Leaf {place.index}, {key[:40]!r}, does not lead to the root {self.root[:12]}.")


class Tree:
    """A Merkle tree over (key, value) entries, at least one, with values as JSON lists that can be compared.

    Example:
        >>> tree = Tree([("b", [2]), ("a", [1]), ("d", [3])])
        >>> tree.commitment.require("b", [2], tree.place(1))
        >>> tree.commitment.require_absent("c", *tree.around("c"))
    """

    def __init__(self, entries: Iterable[tuple[str, list[Any]]]) -> None:
        """Sort and hash the entries; a ProofError if there is none."""
        self.entries = sorted(entries)
        if not self.entries:
            raise ProofError("A Merkle tree needs at least one entry.")
        self._keys = [key for key, _ in self.entries]
        self._levels = [[_leaf(key, artefacts.digest(value)) for key, value in self.entries]]
        while len(below := self._levels[-1]) > 1:
            pairs = [_node(*below[i : i + 2]) for i in range(0, len(below) - 1, 2)]
            self._levels.append(pairs + below[len(pairs) * 2 :])

    @property
    def commitment(self) -> Commitment:
        """Root and number of leaves."""
        return Commitment(root=self._levels[-1][0].hex(), leaves=len(self.entries))

    def positions(self, key: str) -> range:
        """Indices of the leaves with this key."""
        return range(bisect_left(self._keys, key), bisect_right(self._keys, key))

    def place(self, index: int) -> Place:
        """Return the place of leaf `index`, which shows that its entry is in the tree."""
        path = [level[i ^ 1].hex() for k, level in enumerate(self._levels) if (i := index >> k) ^ 1 < len(level)]
        return Place(index=index, path=tuple(path))

    def around(self, key: str) -> tuple[Neighbour | None, Neighbour | None]:
        """Return the leaves on both sides of an absent key, which show that it is absent; ProofError if it is there."""
        if self.positions(key):
            raise ProofError(f"{key[:40]!r} is in the tree.")
        right = bisect_left(self._keys, key)
        return self._neighbour(right - 1), self._neighbour(right)

    def _neighbour(self, index: int) -> Neighbour | None:
        if not 0 <= index < len(self.entries):
            return None
        key, value = self.entries[index]
        return Neighbour(key=key, value=artefacts.digest(value), place=self.place(index))


def _leaf(key: str, value: str) -> bytes:
    content = json.dumps([key, value], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(b"\x00" + content.encode()).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


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
    """A document about an ensemble: its claim in words, and the root hash that it is checked against with its parts."""

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
    book = ensemble.codebook
    units = Tree((unit, [code_word(book, unit), [data.ids[n] for n in data.examples_of(unit)]]) for unit in book.units)
    trees = {"images": images.commitment, "units": units.commitment}
    return EnsembleTrees(
        ensemble, data, images, units, Root(ensemble=ensemble.manifest.fingerprint, size=data.size, **trees)
    )


def code_word(codebook: Codebook, unit: str) -> str:
    """Return the code word of a unit as text: character m, from member 0 on, is 1 if member m may see the unit.

    Example:
        >>> code_word(Codebook.random(["ann"], members=4, seed=0), "ann").count("1")
        2
    """
    [column] = codebook.columns([unit])
    return "".join("1" if bit else "0" for bit in codebook.bits[:, column])
