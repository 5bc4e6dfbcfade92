"""The order of examples on which batches depend: of their shapes, and of their ids."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from whence.diffusion.examples import Examples


def canonical_order(examples: Examples) -> np.ndarray:
    """Return which example is at each place of that order, int64 [N].

    Example:
        >>> import torch
        >>> from whence.diffusion.examples import Examples
        >>> canonical_order(Examples(("b", "c", "a"), torch.zeros(3, 1, 8, 8))).tolist()
        [2, 0, 1]
    """
    ids = examples.ids
    if len(examples.groups()) == 1:
        if all(first < second for first, second in pairwise(ids)):
            return np.arange(len(ids))
        return np.array(sorted(range(len(ids)), key=ids.__getitem__))
    sizes = examples.sizes
    return np.array(sorted(range(len(ids)), key=lambda n: (sizes[n], ids[n])))


def in_order(examples: Examples) -> Examples:
    """Return the examples in that order; they are not copied if they are in it."""
    order = canonical_order(examples)
    return examples if (order == np.arange(len(order))).all() else examples.select(order.tolist())
