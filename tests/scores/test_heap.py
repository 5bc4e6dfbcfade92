"""What is kept of scores that come in blocks, against all of them at once."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from whence.scores.heap import TopHeap
from whence.scores.tally import Tally
from whence.scores.unit_totals import Membership, UnitLargest, UnitSums, are_examples

#: Few values, so that there are many ties.
ROWS = st.lists(st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0]), min_size=1, max_size=12)


def blocks(draw, count):
    """The positions 0 ... count - 1 in any order, in blocks of any sizes."""
    order = draw(st.permutations(range(count)))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, count - 1)), max_size=3)))
    return [
        torch.tensor(part) for part in (order[a:b] for a, b in zip([0, *cuts], [*cuts, count], strict=True)) if part
    ]


@given(st.data(), ROWS, st.integers(1, 14))
def test_a_heap_is_the_ends_of_a_stable_sort(data, row, count):
    scores = torch.tensor([row, row[::-1]])
    largest, smallest = TopHeap(2, count), TopHeap(2, count, smallest=True)
    for positions in blocks(data.draw, len(row)):
        largest.add(scores[:, positions], positions)
        smallest.add(scores[:, positions], positions)
    for q in range(2):
        order = sorted(range(len(row)), key=lambda n: -scores[q, n].item())
        assert largest.positions[q].tolist() == order[:count]
        assert smallest.positions[q].tolist() == order[::-1][:count]
        assert largest.values[q].tolist() == scores[q, order[:count]].tolist()


def test_ties_are_of_single_precision():
    """A whole matrix of scores is kept in single precision, where these are equal."""
    heap = TopHeap(1, 1)
    heap.add(torch.tensor([[1.0, 1.0 + 1e-12]], dtype=torch.float64), torch.tensor([0, 1]))
    assert heap.positions.tolist() == [[0]]


@given(st.data(), ROWS)
def test_units_of_blocks_are_those_of_a_loop(data, row):
    names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3)
    units = [tuple(data.draw(names)) for _ in row]
    membership, scores = Membership.of(units), torch.tensor([row])
    sums, most = UnitSums(1, membership), UnitLargest(1, membership)
    for positions in blocks(data.draw, len(row)):
        sums.add(scores[:, positions], positions)
        most.add(scores[:, positions], positions)
    for place, unit in enumerate(membership.names):
        members = [n for n, own in enumerate(units) if unit in own]
        assert sums.values[0, place] == sum(row[n] for n in members)
        assert most.positions[0, place] == max(members, key=lambda n: (row[n], -n))
        assert membership.sizes[place] == len(members)
    assert membership.names == tuple(dict.fromkeys(unit for own in units for unit in own))


def test_whether_each_example_is_a_unit():
    assert are_examples((("x",), ("y",)))
    assert not are_examples((("x",), ("y",), ("x",)))
    assert not are_examples((("x", "y"), ("z",)))


def test_errors_are_the_jackknife_of_what_stayed():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    without = scores + 0.1 * torch.randn(8, 2, 9, generator=generator, dtype=torch.float64)
    membership = Membership.of([("a",), ("b",), ("a", "b")] * 3)
    tally = Tally.of(2, 2, membership, signed=True, additive=True)
    parts = [torch.tensor([4, 0, 8]), torch.tensor([1, 2, 3, 5, 6, 7])]
    for positions in parts:
        tally.add(scores[:, positions], positions)
    for positions in parts:
        for group in range(8):  # in two terms, whose scores add up
            for share in (0.25, 0.75):
                tally.add_without(group, share * without[group][:, positions], positions)
    error = (7 * without.var(0, correction=0)).sqrt()
    members = torch.tensor([[n % 3 != 1 for n in range(9)], [n % 3 != 0 for n in range(9)]]).double()
    sums = (7 * (without @ members.T).var(0, correction=0)).sqrt()
    largest, smallest, units = tally.errors()
    torch.testing.assert_close(largest, error.gather(1, tally.largest.positions))
    torch.testing.assert_close(smallest, error.gather(1, tally.smallest.positions))
    torch.testing.assert_close(units, sums)


def test_an_unsigned_method_has_no_opponents_and_each_example_by_itself_no_units():
    tally = Tally.of(1, 2, None, signed=False, additive=False)
    tally.add(torch.tensor([[1.0, -1.0, 0.0]]), torch.arange(3))
    tally.add_without(0, torch.tensor([[1.0, -1.0, 0.0]]), torch.arange(3))
    assert tally.errors()[1:] == (None, None)
    assert tally.largest.positions.tolist() == [[0, 2]]
    assert tally.wants(torch.tensor([2]))
    assert not tally.wants(torch.tensor([1]))
