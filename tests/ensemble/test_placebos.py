from itertools import combinations, islice
from math import comb

import pytest

from whence.ensemble.codebook import Codebook, placebos


def book(units: int = 30, members: int = 8, weight: int | None = None) -> Codebook:
    return Codebook.random(tuple(f"u{n}" for n in range(units)), members, 4, weight)


def test_all_unassigned_words_are_found_each_once():
    one = book()
    found = list(placebos(one, 1, 4, seed=0))
    units = {tuple(one.survivors([unit])) for unit in one.units}
    assert len(found) == len(set(found)) == 70 - 30
    assert set(found) == set(combinations(range(8), 4)) - units


@pytest.mark.parametrize(("removed", "left"), [(1, 4), (2, 2), (2, 1), (3, 1)])
def test_more_placebos_begin_with_the_same_ones(removed, left):
    few = list(islice(placebos(book(), removed, left, seed=1), 5))
    more = list(islice(placebos(book(), removed, left, seed=1), 8))
    assert more[:5] == few
    assert all(len(one) == left for one in more)
    assert few != list(islice(placebos(book(), removed, left, seed=2), 5))


@pytest.mark.parametrize(("members", "weight", "removed", "left"), [(9, 3, 1, 6), (9, 3, 2, 4), (10, 4, 2, 3)])
def test_words_of_any_weight(members, weight, removed, left):
    one = book(20, members, weight)
    assert (one.bits.sum(axis=0) == weight).all()
    words = [tuple(m for m in range(members) if m not in left) for left in placebos(one, 1, members - weight, seed=0)]
    assert not set(words) & one.words
    assert all(len(found) == left for found in islice(placebos(one, removed, left, seed=0), 10))


@pytest.mark.parametrize(
    ("removed", "left", "keep_only"), [(1, 4, False), (1, 4, True), (2, 1, False), (2, 3, False), (3, 1, True)]
)
def test_all_groups_of_unassigned_words_are_found(monkeypatch, removed, left, keep_only):
    """Against trying every group of them; where all members can be left, the search ends with the last."""
    one = book()
    every = set(combinations(range(8), 4)) - one.words
    made = {
        tuple(m for m in range(8) if (all if keep_only else any)(m in word for word in group) == keep_only)
        for group in combinations(every, removed)
    }
    expected = {found for found in made if len(found) == left}
    if len(expected) == comb(8, left) or removed == 1:
        monkeypatch.setattr("whence.ensemble.codebook.PATIENCE", 10**9)
    assert set(placebos(one, removed, left, seed=3, keep_only=keep_only)) == expected


@pytest.mark.parametrize(("removed", "left"), [(1, 5), (1, 9), (2, 9)])
def test_no_group_leaves_so_many(monkeypatch, removed, left):
    monkeypatch.setattr("whence.ensemble.codebook.ROUNDS", 1)
    assert list(placebos(book(), removed, left, seed=0)) == []


def test_none_where_no_word_is_left():
    assert list(placebos(book(6, 4), 1, 2, seed=0)) == []
