"""Fingerprints of images in a few bytes each."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from whence import artefacts
from whence.data.temporary_space import temporary_space

#: Bytes of a SHA-256.
SIZE = 32
#: Above so many bytes, they are kept in a temporary file.
LARGE = 2**20


class Fingerprints(Sequence[str]):
    """SHA-256 of N images as text (hex), kept in 32 bytes each; many of them in a temporary file.

    Example:
        >>> prints = Fingerprints.of(["00" * 32, "ff" * 32, "00" * 32])
        >>> prints[1][:4], len(prints), [group.tolist() for group in prints.repeated()]
        ('ffff', 3, [[0, 2]])
    """

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self._content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return Fingerprints, (bytes(self._content),)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Fingerprints:
        """Return fingerprints from texts (hex)."""
        with temporary_space("fingerprints of the images"), tempfile.SpooledTemporaryFile(LARGE) as file:
            for text in texts:
                file.write(bytes.fromhex(text))
            if file.tell() <= LARGE:
                file.seek(0)
                return cls(file.read())
            file.flush()
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    @classmethod
    def of_images(cls, images: Iterable[np.ndarray]) -> Fingerprints:
        """Return fingerprints of pixels, each of shape and bytes."""
        return cls.of(artefacts.digest("x".join(map(str, one.shape)).encode() + b":" + one.tobytes()) for one in images)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Fingerprints):
            return np.array_equal(self._words, other._words)
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

    @property
    def _words(self) -> np.ndarray:
        return np.frombuffer(self._content, np.uint64).reshape(-1, SIZE // 8)

    def repeated(self) -> list[np.ndarray]:
        """Return the positions of each fingerprint that occurs more than once, in order of first appearance."""
        words = self._words
        order = np.lexsort(words.T)
        ordered = words[order]
        same = (ordered[1:] == ordered[:-1]).all(1)
        groups: list[list[int]] = []
        for place in np.flatnonzero(same):
            if not groups or groups[-1][-1] != order[place]:
                groups.append([int(order[place])])
            groups[-1].append(int(order[place + 1]))
        return sorted((np.sort(group) for group in groups), key=lambda group: int(group[0]))
