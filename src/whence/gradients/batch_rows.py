"""How many rows a batch of gradients has: fewer of larger examples, and on a GPU as many as make it fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from whence.diffusion.examples import Examples
from whence.diffusion.repeated import Repeated

#: Largest number of values in the images of a batch.
VALUES = 2**15
#: Twice the rows must save this share of the time of a row.
GAIN = 0.05
#: Largest multiple of the rows that suit a processor.
MOST = 64


def suitable_batch(size: Sequence[int], tokens: int = 0) -> int:
    """Return the number of rows of a batch for examples of some size (C, H, W): fewer rows of larger examples.

    The layers of a network keep as many values as an example has positions, or tokens of a text where these are more.

    Example:
        >>> suitable_batch((1, 8, 8)), suitable_batch((3, 32, 32)), suitable_batch((4, 64, 64))
        (256, 32, 8)
        >>> suitable_batch((4, 8, 8), tokens=512)
        64
    """
    rows = VALUES // max(math.prod(size[1:]), tokens)
    return max(8, min(256, 1 << max(0, rows.bit_length() - 1)))


def batch_of(examples: Examples) -> int:
    """Return the number of rows of a batch for these examples, by the largest of them."""
    return suitable_batch(max(examples.sizes, key=math.prod), count_tokens(examples.conditions))


def count_tokens(conditions: Mapping[str, Tensor | Repeated]) -> int:
    """Return the number of tokens of a text among the conditions of an example; 0 where there is none.

    Example:
        >>> count_tokens({"encoder_hidden_states": torch.zeros(2, 77, 16), "class_labels": torch.zeros(2)})
        77
    """
    shapes = [one[[0]].shape for one in conditions.values()]
    return max((shape[1] for shape in shapes if len(shape) == 3), default=0)


def fastest_multiple(seconds: Callable[[int], float]) -> int:
    """Return the multiple of the rows of a batch, a power of 2, from which on more rows are no faster.

    Where twice the rows don't fit into memory, half of those that fit are taken, which leaves room for other work.

    Args:
        seconds: Gives the time of a batch of so many times the rows; a `torch.OutOfMemoryError` where it doesn't fit.

    Example:
        >>> fastest_multiple(lambda multiple: 1.0 + multiple)  # 2, 3, 5, 9, 17, 33 seconds
        16
    """
    multiple, time = 1, seconds(1)
    while multiple < MOST:
        try:
            twice = seconds(2 * multiple)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return max(1, multiple // 2)
        if twice > 2 * time * (1 - GAIN):
            break
        multiple, time = 2 * multiple, twice
    return multiple
