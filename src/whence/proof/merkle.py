"""Sorted Merkle trees: one hash for many entries. Each entry can be shown to be there, or to be absent, by itself.

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
from typing import Any

from whence import artefacts
from whence.errors import ProofError
from whence.proof.document import Count, Hash, StrictModel


class Place(StrictModel):
    """The place of a leaf, and the hashes beside its path to the root.

    Attributes:
        index: Number of the leaf, from 0.
        path: Hashes (hex) from the leaf's neighbour to the root's child.
    """

    index: Count
    path: tuple[Hash, ...]


class Neighbour(StrictModel):
    """A leaf that is shown without its value.

    Attributes:
        key: Its key.
        value: SHA-256 (hex) of its value.
        place: Its place.
    """

    key: str
    value: Hash
    place: Place


class Commitment(StrictModel):
    """The part of a tree that is published.

    Attributes:
        root: The hash (hex) at its top.
        leaves: Number of leaves.
    """

    root: Hash
    leaves: Count

    def require(self, key: str, value: Any, place: Place) -> None:
        """Check that an entry is in the tree, at this place.

        Raises:
            ProofError: It is not.
        """
        self._require_leaf(key, artefacts.digest(value), place)

    def require_absent(self, key: str, left: Neighbour | None, right: Neighbour | None) -> None:
        """Check that no entry has this key, by the leaves between which it would stand.

        Args:
            key: The key.
            left: The last leaf with a smaller key; None where there is none.
            right: The first leaf with a larger key; None where there is none.

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
    """A Merkle tree over (key, value) entries.

    Example:
        >>> tree = Tree([("b", [2]), ("a", [1]), ("d", [3])])
        >>> tree.commitment.require("b", [2], tree.place(1))
        >>> tree.commitment.require_absent("c", *tree.around("c"))
    """

    def __init__(self, entries: Iterable[tuple[str, list[Any]]]) -> None:
        """Sort and hash the entries: at least one, values as JSON lists that can be compared.

        Raises:
            ProofError: There is none.
        """
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
        """Return the leaves on both sides of an absent key, which show that it is absent.

        Raises:
            ProofError: The key is there.
        """
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
