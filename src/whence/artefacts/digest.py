"""Fingerprints: SHA-256 of bytes, of files and of JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def digest(value: Any) -> str:
    """Return SHA-256 (hex) of bytes, or of the canonical JSON of anything else.

    Example:
        >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
        True
    """
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(value).hexdigest()


def tensor_digests(tensors: Mapping[str, torch.Tensor]) -> dict[str, list[Any]]:
    """Type, shape and SHA-256 (hex) of each tensor by name; `digest` of it is the fingerprint of all."""
    return {
        name: [
            str(tensor.dtype),
            list(tensor.shape),
            digest(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()),
        ]
        for name, tensor in tensors.items()
    }


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
