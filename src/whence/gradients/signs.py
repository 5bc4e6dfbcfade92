"""Random signs that belong to a draw's index alone: every example and every process gets the same ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.draws import bits, keys


def signs(stream: str, index: np.ndarray, count: int) -> Tensor:
    """Return random signs of draws, float32 [n, count] of -1 and 1: a pure function of (stream, draw index).

    Args:
        stream: What they are for; signs of another stream are independent.
        index: Draw index of every row, [n].
        count: Signs per row.

    Example:
        >>> both = signs("output", np.array([0, 1, 0]), 1000)
        >>> bool((both[0] == both[2]).all()), abs(float((both[0] * both[1]).mean())) < 0.1
        (True, True)
    """
    different, place = np.unique(index, return_inverse=True)
    key = np.repeat(keys(f"signs {stream}", 0, [""]), len(different), 0)
    words = bits(key, different, -(-count // 32)).astype("<u4")
    unpacked = np.unpackbits(words.view(np.uint8), axis=1, count=count, bitorder="little")
    return torch.from_numpy(2.0 * unpacked[place].astype(np.float32) - 1.0)
