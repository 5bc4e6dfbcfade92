"""Random bits and normal numbers, as pure functions of (stream, seed, name, index), on the CPU or a GPU.

The bits come from the counter-based generator Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"): the key is a hash of (stream, seed, name), the counter is (block, index). Arrays of numpy are computed on the
CPU, tensors on their device; the bits are the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

#: 32-bit words in int64.
Words = TypeVar("Words", np.ndarray, Tensor)

CPU = torch.device("cpu")
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


def philox(counter: Sequence[Words], key: Sequence[Words]) -> Words:
    """Return the words [..., 4] of Philox-4x32 with 10 rounds, of 4 arrays of counters and 2 of keys, which broadcast.

    A product of two words has 64 bits. As int64 it may be negative, but its bits are the same.
    """
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for i in range(10):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> 32 & _LOW) ^ c1 ^ (k0 + i * _WEYL[0] & _LOW),
            product1 & _LOW,
            (product0 >> 32 & _LOW) ^ c3 ^ (k1 + i * _WEYL[1] & _LOW),
            product0 & _LOW,
        )
    return torch.stack([c0, c1, c2, c3], -1) if isinstance(c0, Tensor) else np.stack([c0, c1, c2, c3], -1)


def keys(stream: str, seed: int, names: Sequence[str]) -> np.ndarray:
    """Return a key of 64 bits for every name, as 32-bit words: int64 [len(names), 2]."""
    hashes = (hashlib.blake2b(f"{stream}\0{seed}\0{name}".encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(hashes), dtype="<u4").reshape(-1, 2).astype(np.int64)


def bits(key: Words, index: Words, words: int) -> Words:
    """Return random 32-bit words int64 [n, words] of keys [n, 2] and their indices int64 [n]."""
    blocks: Words = _range(key, -(-words // 4))
    zero = 0 * blocks
    drawn = philox((blocks, index[:, None], zero, zero), (key[:, :1], key[:, 1:]))
    return drawn.reshape(len(key), -1)[:, :words]


def _range(like: Words, count: int) -> Words:
    """Return 0, 1, ... count - 1 as words [1, count]."""
    if isinstance(like, Tensor):
        return torch.arange(count, device=like.device)[None]
    return np.arange(count)[None]


def normals(key: np.ndarray, index: np.ndarray, shape: Sequence[int], device: torch.device = CPU) -> Tensor:
    """Return standard normal numbers of each (key, index) on a device, float32 [n, *shape], by Box-Muller in float64.

    On the CPU they have the same last bits wherever numpy has. Logarithm, sine and cosine of a GPU may differ in the
    last bit of float32; `make gpu` measures it.
    """
    count = math.prod(shape)
    words = 2 * -(-count // 2)
    index = np.asarray(index, np.int64)
    if device.type == "cpu":
        values = torch.from_numpy(box_muller(bits(key, index, words).astype(np.float64), np))
    else:
        drawn = bits(torch.from_numpy(key).to(device), torch.from_numpy(index).to(device), words)
        values = box_muller(drawn.double(), torch)
    return values[:, :count].float().reshape(-1, *shape)


def box_muller(words: Any, library: Any) -> Any:
    """Return normal numbers float64 [n, k] of words float64 [n, k], k even, by the functions of torch or of numpy."""
    radius = library.sqrt(-2.0 * library.log((words[:, ::2] + 0.5) / 2.0**32))
    angle = (2.0 * math.pi / 2.0**32) * words[:, 1::2]
    return library.stack([radius * library.cos(angle), radius * library.sin(angle)], -1).reshape(len(words), -1)
