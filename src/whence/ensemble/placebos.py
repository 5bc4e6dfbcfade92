"""Placebos: the ablation of code words that no unit has.

An ablation changes a picture for two reasons: the unit is gone, and fewer members are averaged. Words were given to
units at random, so to a unit that does not matter its word is one like any other: the ablation of a word that nobody
has, with as many survivors, shows what comes of the second reason alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from whence.ensemble.codebook import Codebook, random_words

#: Tries without a new one after which the search ends: this many, or this many times the number of code words.
PATIENCE, ROUNDS, LARGE = 20_000, 16, 2**20


def placebos(
    book: Codebook, removed: int, left: int, seed: int, *, keep_only: bool = False
) -> Iterator[tuple[int, ...]]:
    """Members that are left when code words which no unit has are ablated; different ones each time.

    Args:
        book: The codebook.
        removed: Number of code words to ablate together.
        left: How many members must be left.
        seed: Names the order; taking more placebos doesn't change the first ones.
        keep_only: Keep the members with the bits set instead.

    Yields:
        Members in ascending order, in random order of placebos, until there is no more or none is found in many tries.

    Example:
        >>> book = Codebook.random(("ann", "bob", "cy"), members=4, seed=0)
        >>> left = sorted(placebos(book, 1, 2, seed=0))
        >>> len(left), any(list(one) == book.survivors([unit]) for one in left for unit in book.units)
        (3, False)
    """
    found: set[tuple[int, ...]] = set()
    patience = max(PATIENCE, ROUNDS * min(math.comb(book.members, book.weight), LARGE))
    words, group, misses = random_words(book.members, book.weight, seed), set[tuple[int, ...]](), 0
    most = math.comb(book.members, left) - (len(book.taken) if removed == 1 else 0)
    while misses < patience and len(found) < most:
        misses += 1
        word = next(words)
        if word in book.taken:
            continue
        group.add(word)
        if len(group) < removed:
            continue
        survivors = _survivors(book.members, group, keep_only)
        group = set()
        if len(survivors) == left and survivors not in found:
            found.add(survivors)
            misses = 0
            yield survivors


def placebo(
    book: Codebook, removed: int, survivors: Sequence[int], seed: int, *, keep_only: bool = False
) -> list[int] | None:
    """Return one placebo for an ablation: as many members, but other ones.

    Args:
        book: The codebook.
        removed: Number of units that the ablation removes.
        survivors: The members that it leaves.
        seed: Which placebo.
        keep_only: Keep the members with the bits set instead.

    Returns:
        Members, or None where none was found: the units use up the code words.
    """
    others = placebos(book, removed, len(survivors), seed, keep_only=keep_only)
    return next((list(one) for one in others if one != tuple(survivors)), None)


def _survivors(members: int, words: set[tuple[int, ...]], keep_only: bool) -> tuple[int, ...]:
    """Members in none of the words, or with `keep_only` in all of them."""
    chosen = set.intersection(*map(set, words)) if keep_only else set(range(members)).difference(*words)
    return tuple(sorted(chosen))
