"""Fingerprints: SHA-256 of bytes, of files and of JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from whence.lazy import torch


def digest(value: Any) -> str:
    """Return SHA-256 (hex) of bytes, or of the canonical JSON of anything else.

    Example:
        >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
        True
    """
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(value).hexdigest()


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
        hashed.update(block.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
