"""Placebos: the ablation of code words that no unit has.

An ablation changes a picture for two reasons: the unit is gone, and fewer members are averaged. Units got their words
at random. So the ablation of a word that no unit has, with as many survivors, shows the effect of the second reason
alone, and a unit that does not matter has an effect like that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from whence.ensemble.codebook import Codebook, random_words

#: The search ends after so many tries without a new placebo, or after so many times the number of code words.
PATIENCE, ROUNDS, LARGE = 20_000, 16, 2**20


def placebos(
    book: Codebook, removed: int, left: int, seed: int, *, keep_only: bool = False
) -> Iterator[tuple[int, ...]]:
    """Yield sets of members that are left when code words of no unit are ablated; every set is another one.

    Args:
        book: The codebook.
        removed: Number of code words to ablate together.
        left: How many members must be left.
        seed: Seed of the order. The first placebos don't depend on how many are taken.
        keep_only: Keep the members with the bits set instead.

    Yields:
        Members in ascending order, until no placebo is left or many tries find no new one.

    Example:
        >>> book = Codebook.random(("ann", "bob", "cy"), members=4, seed=0)
        >>> left = sorted(placebos(book, 1, 2, seed=0))
        >>> len(left), any(list(members) == book.survivors([unit]) for members in left for unit in book.units)
        (3, False)
    """
    known: set[tuple[int, ...]] = set()
    patience = max(PATIENCE, ROUNDS * min(math.comb(book.members, book.weight), LARGE))
    words, group, tries = random_words(book.members, book.weight, seed), set[tuple[int, ...]](), 0
    most = math.comb(book.members, left) - (len(book.words) if removed == 1 else 0)
    while tries < patience and len(known) < most:
        tries += 1
        word = next(words)
        if word in book.words:
            continue
        group.add(word)
        if len(group) < removed:
            continue
        survivors = _survivors(book.members, group, keep_only)
        group = set()
        if len(survivors) == left and survivors not in known:
            known.add(survivors)
            tries = 0
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
        Members, or None where there is no placebo, because units have all code words.
    """
    others = placebos(book, removed, len(survivors), seed, keep_only=keep_only)
    return next((list(members) for members in others if members != tuple(survivors)), None)


def _survivors(members: int, words: set[tuple[int, ...]], keep_only: bool) -> tuple[int, ...]:
    """Members in none of the words, or with `keep_only` in all of them."""
    chosen = set.intersection(*map(set, words)) if keep_only else set(range(members)).difference(*words)
    return tuple(sorted(chosen))
