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
"""The split that each folder name or file name prefix stands for, in lower or upper case."""

T = TypeVar("T")


def canonical(name: str) -> str:
    """Return the split that a name stands for, or the name itself.

    Example:
        >>> canonical("Val"), canonical("night")
        ('validation', 'night')
    """
    return CANONICAL.get(name.lower(), name)


def choose(splits: Mapping[str, T], split: str | None, where: str) -> T:
    """Return the entry of a split.

    Args:
        splits: An entry for each split of the data set.
        split: The name of a split, in lower or upper case; None for ``train``, or for the only split.
        where: What messages call the data set.

    Returns:
        The entry of that split.

    Raises:
        SplitError: There is no such split, or there are several.

    Example:
        >>> choose({"train": 1, "validation": 2}, "val", "here")
        2
    """
    name = split if split is not None else next(iter(splits)) if len(splits) == 1 else DEFAULT
    found = [name] if name in splits else [there for there in splits if canonical(there) == canonical(name)]
    if len(found) > 1:
        raise SplitError(f"{where} has {' and '.join(found)} for the split {name!r}. Name one of them.")
    if not found:
        raise SplitError(f"{where} has no split {canonical(name)!r}; it has {', '.join(splits)}.")
    return splits[found[0]]
