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
    """Return the entry of a split.

    Args:
        splits: An entry for each split of the data set.
        split: The name of a split; None for ``train``, or for the only split.
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
        name = next(iter(splits)) if len(splits) == 1 else DEFAULT
    else:
        name = split if split in splits else CANONICAL.get(split, split)
    if name not in splits:
        raise SplitError(f"{where} has no split {name!r}; it has {', '.join(splits)}.")
    return splits[name]
