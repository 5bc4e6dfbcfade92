"""Fingerprints: SHA-256 of bytes, of files and of JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from whence.lazy import torch

#: Entries of a list or a mapping whose text is in memory at a time.
PART = 4096
PLAIN = frozenset({str, int, float, bool, type(None)})
#: Made once: `json.dumps` with these settings makes one for each value.
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return SHA-256 (hex) of bytes, or of the canonical JSON of anything else.

    Example:
        >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
        True
    """
    hashed = hashlib.sha256()
    for piece in [value] if isinstance(value, bytes) else _json(value):
        hashed.update(piece)
    return hashed.hexdigest()


def _json(value: Any) -> Iterator[bytes]:
    """Yield the canonical JSON of a value, long lists and those in a table of texts a part at a time."""
    if type(value) in PLAIN or _is_small(value):
        yield _dumped(value)
    elif isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        for place, name in enumerate(sorted(value)):
            yield b"{" if place == 0 else b","
            yield from (_dumped(name), b":")
            yield from _json(value[name])
        yield b"}" if value else b"{}"
    elif isinstance(value, Sequence) and not isinstance(value, str) and len(value) > PART:
        for first in range(0, len(value), PART):
            yield b"," if first else b"["
            yield _dumped(list(value[first : first + PART]))[1:-1]
        yield b"]"
    else:
        yield _dumped(list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value)


def _is_small(value: Any) -> bool:
    """Whether it is a dictionary of a few plain values, which needs no generator for each of them."""
    return (
        type(value) is dict
        and len(value) <= PART
        and PLAIN.issuperset(map(type, value.values()))
        and all(type(name) is str for name in value)
    )


def _dumped(value: Any) -> bytes:
    return ENCODER.encode(value).encode()


class Blocks(Protocol):
    """A tensor that comes in blocks of rows, because it may be larger than memory."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of its values."""

    @property
    def shape(self) -> torch.Size:
        """[N, ...]."""

    def blocks(self) -> Iterator[torch.Tensor]:
        """Yield its rows in their order."""


def tensor_digests(tensors: Mapping[str, torch.Tensor | Blocks]) -> dict[str, list[Any]]:
    """Type, shape and SHA-256 (hex) of each tensor by name; `digest` of it is the fingerprint of all."""
    return {name: [str(one.dtype), list(one.shape), _tensor_digest(one)] for name, one in tensors.items()}


def _tensor_digest(tensor: torch.Tensor | Blocks) -> str:
    """SHA-256 (hex) of the bytes of a tensor."""
    hashed = hashlib.sha256()
    for block in [tensor] if isinstance(tensor, torch.Tensor) else tensor.blocks():
        hashed.update(block.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
