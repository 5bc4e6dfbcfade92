"""Random subsets of the training examples, stratified by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from whence.data import Dataset
from whence.errors import ConfigError
from whence.seeds import derived_seed

#: The class of every example where subsets are not stratified.
ALL = "(all)"


def classes_of(data: Dataset) -> tuple[str, ...]:
    """Return the class of every example, by which subsets are stratified.

    It is that of the data if all have one and no class has a single example; else the one class ``(all)``.

    Example:
        >>> from whence.data import load
        >>> sorted(set(classes_of(load("digits"))))[:3]
        ['0', '1', '2']
    """
    known = tuple(name for name in data.classes if name is not None)
    if len(known) < len(data) or min(Counter(known).values()) < 2:
        return (ALL,) * len(data)
    return known


def subsets(classes: Sequence[str], fraction: float, count: int, seed: int, stream: str) -> np.ndarray:
    """Return random subsets of equal size and, as nearly as can be, equal shares of every class; bool [S, N].

    Of n_c examples of class c each subset keeps ⌊fraction·n_c⌋ or one more, so that it keeps round(fraction·N) in all.
    Which class gives the one more is random too. Subset k depends on seed, stream (its purpose) and k alone.

    Raises:
        ConfigError: The fraction is out of range, or keeps or removes nothing.

    Example:
        >>> kept = subsets(["a"] * 6 + ["b"] * 4, 0.5, 3, seed=0, stream="test")
        >>> kept.sum(1).tolist(), kept[:, :6].sum(1).tolist()
        ([5, 5, 5], [3, 3, 3])
    """
    total = round(fraction * len(classes)) if 0 < fraction < 1 else 0
    if not 0 < total < len(classes):
        raise ConfigError(f"A share of {fraction:g} of {len(classes)} examples leaves nothing to keep or to remove.")
    rows = {name: np.array([n for n, label in enumerate(classes) if label == name]) for name in dict.fromkeys(classes)}
    kept = np.zeros((count, len(classes)), bool)
    for k in range(count):
        source = np.random.default_rng(derived_seed(seed, f"subset {stream} {fraction!r} {k}"))
        quota = {name: int(fraction * len(members)) for name, members in rows.items()}
        order = source.permutation(list(rows))
        rest = {name: fraction * len(members) - quota[name] for name, members in rows.items()}
        for name in sorted(order, key=lambda name: -rest[name])[: total - sum(quota.values())]:
            quota[name] += 1
        for name, members in rows.items():
            kept[k, source.permutation(members)[: quota[name]]] = True
    return kept


def matched_removal(classes: Sequence[str], removed: np.ndarray, seed: int, stream: str) -> np.ndarray:
    """Return random rows with the same number of each class as `removed`, ascending; some may be the same rows."""
    source = np.random.default_rng(derived_seed(seed, f"matched {stream}"))
    histogram = Counter(classes[n] for n in removed.tolist())
    rows = [
        source.permutation([n for n, label in enumerate(classes) if label == name])[:count]
        for name, count in sorted(histogram.items())
    ]
    return np.sort(np.concatenate(rows))
