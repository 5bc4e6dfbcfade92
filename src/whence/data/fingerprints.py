"""Fingerprints of images in a few bytes each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from whence import artefacts

#: Bytes of a SHA-256.
SIZE = 32


class Fingerprints(Sequence[str]):
    """SHA-256 of N images as text (hex), kept in 32 bytes each.

    Example:
        >>> prints = Fingerprints.of(["00" * 32, "ff" * 32, "00" * 32])
        >>> prints[1][:4], len(prints), [group.tolist() for group in prints.repeated()]
        ('ffff', 3, [[0, 2]])
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    @classmethod
    def of(cls, texts: Iterable[str]) -> Fingerprints:
        """Return fingerprints from texts (hex)."""
        content = bytearray()
        for text in texts:
            content += bytes.fromhex(text)
        return cls(bytes(content))

    @classmethod
    def of_images(cls, images: Iterable[np.ndarray]) -> Fingerprints:
        """Return fingerprints of pixels, each of shape and bytes."""
        return cls.of(artefacts.digest("x".join(map(str, one.shape)).encode() + b":" + one.tobytes()) for one in images)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Fingerprints):
            return self._content == other._content
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __len__(self) -> int:
        return len(self._content) // SIZE

    def __getitem__(self, n: Any) -> Any:
        if isinstance(n, slice):
            return [self[k] for k in range(*n.indices(len(self)))]
        n = range(len(self))[n]
        return self._content[n * SIZE : (n + 1) * SIZE].hex()

    def repeated(self) -> list[np.ndarray]:
        """Return the positions of each fingerprint that occurs more than once, in order of first appearance."""
        words = np.frombuffer(self._content, np.uint64).reshape(-1, SIZE // 8)
        order = np.lexsort(words.T)
        ordered = words[order]
        same = (ordered[1:] == ordered[:-1]).all(1)
        groups: list[list[int]] = []
        for place in np.flatnonzero(same):
            if not groups or groups[-1][-1] != order[place]:
                groups.append([int(order[place])])
            groups[-1].append(int(order[place + 1]))
        return sorted((np.sort(group) for group in groups), key=lambda group: int(group[0]))
