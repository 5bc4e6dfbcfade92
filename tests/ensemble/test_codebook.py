import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from whence import artefacts
from whence.data import Dataset
from whence.ensemble.codebook import Codebook, placebo
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError, NoSurvivorsError


def names(count: int) -> tuple[str, ...]:
    return tuple(f"u{n}" for n in range(count))


def dataset(units: list[tuple[str, ...]]) -> Dataset:
    count = len(units)
    pixels = np.zeros((count, 1, 8, 8), np.uint8)
    return Dataset(tuple(f"{n}" for n in range(count)), pixels, tuple(units), (None,) * count)


SIZES = [(2, 2), (4, 6), (6, 10), (8, 70), (16, 500)]


@pytest.mark.parametrize(("members", "units"), SIZES)
def test_code_words_are_unique_and_balanced(members, units):
    book = Codebook.random(names(units), members, seed=1)
    assert book.bits.shape == (members, units)
    assert book.bits.dtype == bool
    assert len({tuple(column) for column in book.bits.T}) == units
    assert (book.bits.sum(axis=0) == members // 2).all()
    assert (book.members, book.weight, book.units) == (members, members // 2, names(units))


def test_all_of_the_capacity_can_be_used():
    book = Codebook.random(names(6), 4, seed=0)
    words = {tuple(np.flatnonzero(column)) for column in book.bits.T}
    assert words == set(combinations(range(4), 2))


def test_code_words_depend_on_the_seed_alone():
    first = Codebook.random(names(20), 8, seed=1).bits
    assert np.array_equal(first, Codebook.random(names(20), 8, seed=1).bits)
    assert np.array_equal(first, Codebook.random([f"other {n}" for n in range(20)], 8, seed=1).bits)
    assert not np.array_equal(first, Codebook.random(names(20), 8, seed=2).bits)


def test_further_units_do_not_change_the_words_of_the_first():
    assert np.array_equal(Codebook.random(names(20), 8, seed=1).bits[:, :7], Codebook.random(names(7), 8, seed=1).bits)


def test_words_are_drawn_evenly():
    book = Codebook.random(names(2000), 16, seed=3)
    share = book.bits.mean(axis=1)
    assert (abs(share - 0.5) < 0.05).all()


@pytest.mark.parametrize("members", [-2, 0, 1, 3, 15])
def test_odd_or_too_few_members(members):
    with pytest.raises(ConfigError, match=f"even number of members, at least 2; given {members}"):
        Codebook.random(names(2), members, 0)


@pytest.mark.parametrize(
    ("members", "units", "enough"), [(2, 3, 4), (4, 7, 6), (6, 21, 8), (6, 1500, 14), (12, 925, 14)]
)
def test_too_small_a_capacity_says_how_many_members_are_enough(members, units, enough):
    capacity = math.comb(members, members // 2)
    with pytest.raises(ConfigError) as caught:
        Codebook.random(names(units), members, 0)
    message = str(caught.value)
    assert (
        f"{members} members have {capacity:,} code words of weight {members // 2}, too few for {units:,} units"
        in message
    )
    assert f"--members {enough})" in message
    assert Codebook.random(names(units), enough, 0).bits.shape == (enough, units)
    assert math.comb(enough - 2, enough // 2 - 1) < units


@pytest.mark.parametrize("keep_only", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_survivors_against_brute_force(count, keep_only):
    book = Codebook.random(names(30), 8, seed=4)
    for chosen in list(combinations(range(30), count))[::7]:
        expected = [m for m in range(8) if all(book.bits[m, u] == keep_only for u in chosen)]
        units = [f"u{u}" for u in chosen]
        if expected:
            assert book.survivors(units, keep_only=keep_only) == expected
            assert book.survivors(units[::-1] + units, keep_only=keep_only) == expected
        else:
            with pytest.raises(NoSurvivorsError):
                book.survivors(units, keep_only=keep_only)


def test_one_unit_leaves_half_of_the_members():
    book = Codebook.random(names(30), 8, seed=4)
    for unit in book.units:
        without, only = book.survivors([unit]), book.survivors([unit], keep_only=True)
        assert len(without) == len(only) == 4
        assert sorted(without + only) == list(range(8))


def test_unknown_units_and_none():
    book = Codebook.random(names(5), 4, seed=0)
    with pytest.raises(DataError, match="no unit 'bob' in the training data"):
        book.survivors(["u1", "bob"])
    with pytest.raises(DataError, match="No unit is given"):
        book.survivors([])


@pytest.mark.parametrize(("keep_only", "saw"), [(False, "never saw any of"), (True, "saw all of")])
def test_no_survivors_names_the_units_and_what_helps(keep_only, saw):
    bits = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    with pytest.raises(NoSurvivorsError) as caught:
        Codebook(bits, ("ann", "bob"), 0).survivors(["ann", "bob"], keep_only=keep_only)
    message = str(caught.value)
    assert f"None of the 4 members {saw} the units 'ann', 'bob'" in message
    assert "Ablate fewer units together" in message
    assert "--unit-column" in message
    assert "train more members" in message


@pytest.mark.parametrize("keep_only", [False, True])
@pytest.mark.parametrize(("removed", "wanted"), [(1, 4), (2, 1), (2, 2), (2, 3), (3, 1)])
def test_a_placebo_removes_words_that_no_unit_has(removed, wanted, keep_only):
    book = Codebook.random(names(30), 8, seed=4)
    taken = {tuple(np.flatnonzero(column)) for column in book.bits.T}
    free = [word for word in combinations(range(8), 4) if word not in taken]
    possible = {
        tuple(m for m in range(8) if all((m in word) == keep_only for word in words))
        for words in combinations(free, removed)
    }
    found = {tuple(placebo(book, removed, range(wanted), seed, keep_only=keep_only)) for seed in range(20)}
    assert found <= possible
    assert all(len(one) == wanted for one in found)
    assert len(found) > 1


@pytest.mark.parametrize("seed", range(30))
def test_the_placebo_of_one_unit_is_the_ablation_of_no_unit(seed):
    book = Codebook.random(names(30), 8, seed=4)
    assert placebo(book, 1, range(4), seed) == placebo(book, 1, range(4), seed)
    assert placebo(book, 1, range(4), seed) not in [book.survivors([unit]) for unit in book.units]


def test_no_placebo_where_every_word_belongs_to_a_unit():
    assert placebo(Codebook.random(names(6), 4, seed=0), 1, range(2), seed=0) is None


def test_no_placebo_with_an_impossible_number_of_survivors():
    assert placebo(Codebook.random(names(10), 8, seed=0), 1, range(3), seed=0) is None


def test_an_example_of_several_units_needs_all_their_bits():
    units = [("u0",), ("u1",), ("u0", "u1"), ("u2", "u0"), ("u3", "u1", "u2"), ("u3",), ("u4",)]
    data = dataset(units)
    book = Codebook.random(data.unit_ids, 6, seed=2)
    column = {unit: u for u, unit in enumerate(book.units)}
    seen = Counter()
    for member in range(6):
        rows = book.examples(member, data).tolist()
        seen.update(rows)
        assert rows == [n for n, own in enumerate(units) if all(book.bits[member, column[u]] for u in own)]
    assert seen[0] == 3
    assert seen[2] < 3


def test_a_member_with_nothing_to_see_is_refused():
    book = Codebook.random(("u0",), 2, seed=0)
    data = dataset([("u0",)])
    empty = int(np.flatnonzero(~book.bits[:, 0])[0])
    with pytest.raises(ConfigError, match=f"Member {empty} would train on nothing: .* at least two"):
        book.examples(empty, data)


def test_written_and_read(tmp_path):
    book = Codebook.random(names(30), 8, seed=4)
    book.write(tmp_path / "c", "d" * 64)
    found = Codebook.read(tmp_path / "c")
    assert np.array_equal(found.bits, book.bits)
    assert (found.units, found.seed, found.weight) == (book.units, 4, 4)
    book.write(tmp_path / "c", "d" * 64)
    with pytest.raises(MismatchError):
        book.write(tmp_path / "c", "e" * 64)
    with pytest.raises(MismatchError, match="made.seed: there 4, now 5"):
        Codebook.random(names(30), 8, seed=5).write(tmp_path / "c", "d" * 64)


@pytest.mark.parametrize("file", ["codebook.safetensors", "units.parquet"])
def test_a_changed_codebook_is_refused(tmp_path, file, flip_byte):
    Codebook.random(names(30), 8, seed=4).write(tmp_path / "c", "d" * 64)
    flip_byte(tmp_path / "c" / file)
    with pytest.raises(ArtefactError, match=f"{file} is damaged"):
        Codebook.read(tmp_path / "c")


def test_bits_that_do_not_fit_the_units_are_refused(tmp_path):
    made = {"members": 4, "weight": 2, "seed": 0}
    with artefacts.create(tmp_path / "c", "codebook", inputs={}, made=made) as part:
        artefacts.write_tensors(part / "codebook.safetensors", {"bits": artefacts.to_tensor(np.ones((4, 3), bool))})
        artefacts.write_table(part / "units.parquet", {"unit": ["a", "b"]})
    with pytest.raises(ArtefactError, match=r"bits \(4, 3\) for 2 units"):
        Codebook.read(tmp_path / "c")


@pytest.mark.parametrize(("members", "weight"), [(5, 2), (9, 3), (16, 7)])
def test_a_weight_leaves_the_guaranteed_survivors(members, weight):
    """With w <= (M - s) / r, removing any r units leaves at least s members."""
    book = Codebook.random(names(10), members, 0, weight)
    assert book.weight == weight
    assert (book.bits.sum(axis=0) == weight).all()
    for removed in range(1, (members - 1) // weight + 1):
        left = [len(book.survivors([f"u{u}" for u in some])) for some in combinations(range(10), removed)]
        assert min(left) >= members - removed * weight


@pytest.mark.parametrize(("members", "weight"), [(4, 0), (4, 4), (4, 5), (4, -1)])
def test_an_impossible_weight(members, weight):
    with pytest.raises(ConfigError, match="--weight must be from 1 to 3"):
        Codebook.random(names(2), members, 0, weight)


def test_too_few_words_of_a_weight():
    with pytest.raises(ConfigError, match="5 members have 10 code words of weight 2, too few for 12 units.*members 6"):
        Codebook.random(names(12), 5, 0, 2)
