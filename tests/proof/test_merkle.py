"""The sorted Merkle tree against the recursive definition of RFC 6962, and what its proofs refuse."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.errors import ProofError
from whence.proof.root import Commitment, Neighbour, Place, Tree

ENTRIES = st.lists(st.tuples(st.text(max_size=3), st.lists(st.text(max_size=3), max_size=2)), min_size=1, max_size=40)


def naive_leaf(key: str, value: list) -> bytes:
    inner = hashlib.sha256(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
    outer = json.dumps([key, inner], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(b"\0" + outer.encode()).digest()


def split(count: int) -> int:
    """The largest power of two below `count`."""
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def naive_root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[str]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:]).hex()]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k]).hex()]


@given(ENTRIES)
def test_root_and_paths_are_those_of_the_recursive_definition(entries):
    tree = Tree(entries)
    leaves = [naive_leaf(*entry) for entry in sorted(entries)]
    assert tree.commitment == Commitment(root=naive_root(leaves).hex(), leaves=len(entries))
    for index, (key, value) in enumerate(tree.entries):
        assert list(tree.place(index).path) == naive_path(index, leaves)
        tree.commitment.require(key, value, tree.place(index))


@given(ENTRIES, st.randoms(use_true_random=False))
def test_the_order_of_the_entries_does_not_matter(entries, random):
    shuffled = random.sample(entries, len(entries))
    assert Tree(shuffled).commitment == Tree(entries).commitment


@given(ENTRIES, st.text(max_size=3))
def test_every_key_is_either_there_or_shown_to_be_absent(entries, key):
    tree = Tree(entries)
    found = [tree.entries[index] for index in tree.positions(key)]
    assert found == sorted(entry for entry in entries if entry[0] == key)
    if found:
        with pytest.raises(ProofError, match="is in the tree"):
            tree.around(key)
    else:
        tree.commitment.require_absent(key, *tree.around(key))


@given(ENTRIES, st.data())
def test_no_place_but_its_own_holds_for_an_entry(entries, data):
    tree = Tree(entries)
    index = data.draw(st.integers(0, len(entries) - 1))
    key, value = tree.entries[index]
    path = list(tree.place(index).path)
    claimed = data.draw(st.integers(0, 2 * len(entries)))
    if claimed != index and (claimed >= len(entries) or tree.entries[claimed] != (key, value)):
        with pytest.raises(ProofError):
            tree.commitment.require(key, value, Place(index=claimed, path=tuple(path)))
    if path:
        changed = list(path)
        changed[data.draw(st.integers(0, len(path) - 1))] = data.draw(st.sampled_from(["0" * 64, "f" * 64]))
        for wrong in (changed, path[:-1], [*path, path[-1]], path[::-1]):
            if wrong != path:
                with pytest.raises(ProofError):
                    tree.commitment.require(key, value, Place(index=index, path=tuple(wrong)))
    with pytest.raises(ProofError):
        tree.commitment.require(key + "x", value, tree.place(index))
    with pytest.raises(ProofError):
        tree.commitment.require(key, [*value, "x"], tree.place(index))


@given(ENTRIES, st.text(max_size=3), st.integers(0, 40), st.integers(0, 40), st.booleans(), st.booleans())
def test_a_key_that_is_there_is_never_shown_to_be_absent(entries, key, i, j, no_left, no_right):
    tree = Tree([*entries, (key, [])])
    left, right = (tree._neighbour(k % len(tree.entries)) for k in (i, j))
    with pytest.raises(ProofError):
        tree.commitment.require_absent(key, None if no_left else left, None if no_right else right)


def test_a_number_of_leaves_that_is_wrong_moves_no_edge():
    """The root is the same for some wrong numbers of leaves; that is why the number is committed to."""
    tree = Tree((name, []) for name in "abcde")
    left, _ = tree.around("z")
    short = Commitment(root=tree.commitment.root, leaves=4)
    with pytest.raises(ProofError):
        short.require_absent("z", left, None)


def test_leaves_and_nodes_are_hashed_apart():
    """Two hashes in a row are no entry: a node can't pass for a leaf."""
    tree = Tree([("a", []), ("b", [])])
    node = bytes.fromhex(tree.place(1).path[0] + tree.place(0).path[0])
    assert hashlib.sha256(b"\1" + node).hexdigest() == tree.commitment.root
    assert hashlib.sha256(b"\0" + node).hexdigest() != tree.commitment.root


def test_an_empty_tree_is_refused():
    with pytest.raises(ProofError, match="at least one entry"):
        Tree([])


def test_neighbours_show_no_value():
    left, right = Tree([("a", ["secret"]), ("c", ["secret"])]).around("b")
    assert isinstance(left, Neighbour)
    assert "secret" not in left.model_dump_json() + right.model_dump_json()
