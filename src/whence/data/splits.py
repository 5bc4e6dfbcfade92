"""The names of splits, as the Hugging Face libraries know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from whence.errors import SplitError

DEFAULT = "train"
CANONICAL = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
"""The split that each folder name or file name prefix stands for."""

T = TypeVar("T")


def choose(splits: Mapping[str, T], split: str | None, where: str) -> T:
    """What belongs to the wanted split.

    Args:
        splits: What there is, by split.
        split: The wanted one; None is ``train``, or the only one.
        where: What messages call the data set.

    Returns:
        The entry of that split.

    Raises:
        SplitError: There is no such split.

    Example:
        >>> choose({"train": 1, "validation": 2}, "val", "here")
        2
    """
    if split is None:
        wanted = next(iter(splits)) if len(splits) == 1 else DEFAULT
    else:
        wanted = split if split in splits else CANONICAL.get(split, split)
    if wanted not in splits:
        raise SplitError(f"{where} has no split {wanted!r}; it has {', '.join(splits)}.")
    return splits[wanted]
